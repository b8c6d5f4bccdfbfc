"use strict";
// Keys press the buttons that name them; the page's own clock leaves out the time that the network takes.
const began = performance.now();
let sent = false;

document.addEventListener("submit", (event) => {
  if (sent) {
    event.preventDefault();
    return;
  }
  sent = true;
  if (event.target.elements.seconds) {
    event.target.elements.seconds.value = ((performance.now() - began) / 1000).toFixed(3);
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
