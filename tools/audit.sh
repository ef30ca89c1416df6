#!/usr/bin/env bash
# Known weaknesses of the packages in .venv, or of those in the file of requirements that is named; one line if the
# database of advisories cannot be reached. Exit status: 0 none known, 1 some are, 2 it could not be asked.
set -u
cd "$(dirname "$0")/.."
tool=.cache/audit
if [ ! -x "$tool/bin/pip-audit" ]; then
  { .venv/bin/python -m venv "$tool" && "$tool/bin/pip" install --quiet pip-audit==2.10.1; } > .cache/audit.log 2>&1 || {
    rm -rf "$tool"
    echo "error: pip-audit could not be installed, so that nothing was examined; see .cache/audit.log" >&2
    exit 2
  }
fi
if [ $# -gt 0 ]; then
  what=(--requirement "$1" --no-deps --disable-pip)
else
  what=(--path "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" --skip-editable)
fi
ask() { "$tool/bin/pip-audit" --progress-spinner off --timeout 30 "$@" > .cache/audit.txt 2> .cache/audit.log; }

# Mirrors of the package index answer without advisories, as if there were none: one that everybody knows must be known.
echo "jinja2==2.10" > .cache/audit-known.txt # CVE-2019-10906
if ask --requirement .cache/audit-known.txt --no-deps --disable-pip; then
  echo "error: who answers has no advisories (not even CVE-2019-10906), so that nothing was examined; ask PyPI itself" >&2
  exit 2
fi
ask "${what[@]}"
status=$?
# it ends with 1 for findings as for a database that does not answer: only the former prints a table
if [ $status -eq 0 ]; then
  tail -n 1 .cache/audit.log
elif [ -s .cache/audit.txt ]; then
  cat .cache/audit.txt
else
  echo "error: the database of advisories did not answer, so that nothing was examined: $(tail -n 1 .cache/audit.log)" >&2
  status=2
fi
exit $status
