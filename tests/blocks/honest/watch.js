require('node:fs').watch('.', () => {});
