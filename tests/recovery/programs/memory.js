const blocks = [];
for (let have = 0; have < Number(process.argv[2]); have += 16) blocks.push(Buffer.alloc(16 << 20, 1));
console.log("had", blocks.length * 16);
