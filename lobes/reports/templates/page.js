"use strict";
// A page is whole without this: it says where a table scrolls, and lets one player play.
const widths = new ResizeObserver((boxes) => {
  for (const { target } of boxes) {
    target.previousElementSibling.hidden = target.scrollWidth <= target.clientWidth + 1;
  }
});
for (const box of document.querySelectorAll(".hint + .scroll")) widths.observe(box);

document.addEventListener("play", (event) => {
  for (const player of document.querySelectorAll("audio")) if (player !== event.target) player.pause();
}, true); // a play event does not bubble
