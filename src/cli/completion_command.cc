#include <iostream>
#include <memory>
#include <string>

#include "shardscout/version.h"
#include "src/cli/commands.h"
#include "src/cli/completion.h"
#include "src/cli/man_page.h"
#include "src/cli/option_table.h"

namespace shardscout::cli {

void AddCompletionCommand(CLI::App& app, Context& context) {
  auto shell = std::make_shared<std::string>();  // shared with the callback, which outlives this function
  CLI::App* command = app.add_subcommand("completion", "Print a shell's completion of this program");
  command->add_option("shell", *shell, "Which shell's")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->footer(
      "An installed package has them in place. Otherwise:\n"
      "  shardscout completion bash > ~/.local/share/bash-completion/completions/shardscout\n"
      "  shardscout completion zsh > ~/.zfunc/_shardscout        (with ~/.zfunc in fpath, before compinit)\n"
      "  shardscout completion fish > ~/.config/fish/completions/shardscout.fish");
  command->callback([shell, &app, &context] {
    context.run = [shell, &app] {
      const OptionTable table = TableOf(app);
      std::cout << (*shell == "bash" ? BashCompletion : *shell == "zsh" ? ZshCompletion : FishCompletion)(table);
      return kExitResult;
    };
  });
}

void AddManCommand(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("man", "Print the manual page");
  command->footer("Example:\n  shardscout man | man -l -");
  command->callback([&app, &context] {
    context.run = [&app] {
      std::cout << ManPage(TableOf(app), Version());
      return kExitResult;
    };
  });
}

}  // namespace shardscout::cli
