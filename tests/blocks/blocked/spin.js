require('node:fs').writeFileSync('blocking', '');
let done = false;
setTimeout(() => { done = true; }, 10);
while (!done);
