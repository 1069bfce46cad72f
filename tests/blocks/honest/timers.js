// Does a little every second, silently.
let ticks = 0;
const timer = setInterval(() => { if (++ticks === 20) clearInterval(timer); }, 1000);
