// The divider between a photograph and its cut-out: dragged, or moved with the keyboard.

const STEP = 2;
const LEAP = 10;

/** Let the divider of a frame be moved; its place is the custom property --split. */
export function makeMovable(frame, divider) {
  const moveTo = (percent) => {
    const place = Math.round(Math.min(100, Math.max(0, percent)));
    frame.style.setProperty("--split", `${place}%`);
    divider.setAttribute("aria-valuenow", place);
    divider.setAttribute("aria-valuetext", `${place} % original, ${100 - place} % cut-out`);
  };
  const follow = ({ clientX }) => {
    const { left, width } = frame.getBoundingClientRect();
    moveTo(((clientX - left) / width) * 100);
  };

  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || divider.hidden) return;
    event.preventDefault(); // no selection, no dragging of the picture
    divider.focus({ preventScroll: true });
    frame.setPointerCapture(event.pointerId);
    follow(event);
  });
  frame.addEventListener("pointermove", (event) => {
    if (frame.hasPointerCapture(event.pointerId)) follow(event);
  });

  divider.addEventListener("keydown", (event) => {
    const now = Number(divider.getAttribute("aria-valuenow"));
    const step = event.shiftKey ? LEAP : STEP;
    const places = {
      ArrowLeft: now - step,
      ArrowDown: now - step,
      ArrowRight: now + step,
      ArrowUp: now + step,
      PageDown: now - LEAP,
      PageUp: now + LEAP,
      Home: 0,
      End: 100,
    };
    if (event.key in places) {
      event.preventDefault();
      moveTo(places[event.key]);
    }
  });
  moveTo(50);
}
