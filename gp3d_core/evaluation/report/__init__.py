"""The folder of an evaluation: scores, tables, sheets and the page that shows them."""
