"use strict";
// Turns the mesh of a card when it is asked for, and finds cards by class. A live viewer holds a model in the memory of
// the graphics card, so that only the last few stay; the others show their picture again.
{
  const MOST_LIVE = 4;
  const live = [];
  // the decoder is part of the viewer, which waits for a script all the same
  self.ModelViewerElement.meshoptDecoderLocation = URL.createObjectURL(new Blob([""], { type: "text/javascript" }));

  const close = (stage) => {
    const viewer = stage.querySelector("model-viewer");
    URL.revokeObjectURL(viewer.src);
    viewer.remove();
    stage.classList.remove("live");
  };

  const open = (card) => {
    const stage = card.querySelector(".stage");
    const text = card.querySelector("script.model").textContent;
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const viewer = document.createElement("model-viewer");
    viewer.cameraControls = true;
    viewer.autoRotate = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    viewer.autoRotateDelay = 300;
    viewer.interactionPrompt = "none";
    viewer.alt = card.querySelector("h2").textContent;
    viewer.environmentImage = "neutral";
    viewer.cameraOrbit = "0.5rad 1.25rad 105%"; // from where its picture is taken
    viewer.loading = "eager";
    viewer.addEventListener("load", () => card.classList.add("loaded"));
    viewer.addEventListener("error", () => {
      card.classList.add("broken");
      const said = document.createElement("p");
      said.className = "problem";
      said.textContent = "This browser cannot show the mesh.";
      card.querySelector("h2").after(said);
    });
    viewer.src = URL.createObjectURL(new Blob([bytes], { type: "model/gltf-binary" }));
    stage.append(viewer);
    stage.classList.add("live");
    live.push(stage);
    if (live.length > MOST_LIVE) close(live.shift());
  };

  const search = () => {
    const words = document.getElementById("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    const cards = document.querySelectorAll(".card");
    for (const card of cards) {
      card.hidden = !words.every((word) => card.dataset.search.includes(word));
      shown += card.hidden ? 0 : 1;
    }
    document.getElementById("count").textContent =
      words.length ? `${shown} of ${cards.length} meshes` : `${cards.length} meshes`;
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("search").addEventListener("input", search);
    for (const button of document.querySelectorAll(".stage button")) {
      button.addEventListener("click", () => open(button.closest(".card")));
    }
  });
}
