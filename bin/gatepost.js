#!/usr/bin/env node
// Syntax of Node.js 12 and no static import: an older Node.js shall print the sentence below, not a stack.
const needed = 24

if (Number(process.versions.node.split('.')[0]) < needed) {
  process.stderr.write(
    `gatepost needs Node.js ${needed} or newer, this is v${process.versions.node}: install it, ` +
      `or run \`npm install node@${needed}\` beside gatepost and then \`npx gatepost\`\n`,
  )
  process.exitCode = 78
} else {
  import('../dist/main.js').catch((error) => {
    process.stderr.write(`Cannot start gatepost: ${error.stack}\n`)
    process.exit(1)
  })
}
