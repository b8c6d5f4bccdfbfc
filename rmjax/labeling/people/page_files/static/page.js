"use strict";
// Keys press the buttons that name them; the page's own clock leaves out the time that the network takes. A pair that is
// shown again (as it is written, or reloaded) goes on at the seconds that it was out before.
const began = performance.now();
let sent = false;

document.addEventListener("submit", (event) => {
  if (sent) {
    event.preventDefault();
    return;
  }
  sent = true;
  if (event.target.elements.seconds) {
    const seconds = Number(event.target.dataset.before) + (performance.now() - began) / 1000;
    event.target.elements.seconds.value = seconds.toFixed(3);
  }
});

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) {
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  for (const button of document.querySelectorAll("button[data-keys]")) {
    if (button.dataset.keys.split(" ").includes(key)) {
      event.preventDefault();
      button.click();
      return;
    }
  }
});

// A page that comes back from the browser's memory may show what was judged since.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) {
    location.reload();
  }
});
