// Starts `mixkit lsp`, and connects the editor with it.
const { workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function activate() {
  const [command, ...args] = workspace.getConfiguration("mix").get("command");
  const server = { command, args };
  const options = {
    documentSelector: [{ language: "mix" }],
    synchronize: { fileEvents: workspace.createFileSystemWatcher("**/*.mix") },
  };
  client = new LanguageClient("mix", "Mix", server, options);
  await client.start();
}

async function deactivate() {
  await client?.stop();
}

module.exports = { activate, deactivate };
