// The manual page and the shells' completions, held against what --help says, which CLI11 writes by itself; colours and
// the log's file.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "tests/cli/cli_fixture.h"
#include "tests/event_file_reader.h"

namespace shardscout::test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::StartsWith;

using Names = std::set<std::string>;

Names Lines(const std::string& text) {
  Names lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty()) lines.insert(line);
  }
  return lines;
}

bool Has(const std::string& program) { return RunProcess({"sh", "-c", "command -v " + program}).exit_code == 0; }

class Pages : public Cli {
 protected:
  /// "  -m,--model MODEL   ..." -> -m, --model.
  static Names OptionsIn(const std::string& help) {
    Names names;
    std::istringstream lines(help);
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("  -")) continue;
      std::istringstream words(line.substr(2, line.find(' ', 2) - 2));
      for (std::string name; std::getline(words, name, ',');) names.insert(name);
    }
    return names;
  }

  /// Every command with its options, out of --help.
  std::map<std::string, Names> Help() const {
    std::map<std::string, Names> commands;
    std::istringstream lines(Run({"--help"}).out);
    bool listed = false;
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("Subcommands:")) {
        listed = true;
      } else if (listed && line.starts_with("  ") && line.size() > 2 && line[2] != ' ') {
        const std::string name = line.substr(2, line.find(' ', 2) - 2);
        commands[name] = OptionsIn(Run({name, "--help"}).out);
      } else if (line.empty()) {
        listed = false;
      }
    }
    return commands;
  }

  /// The lines that head a description, after a .TP each.
  static std::string Headings(const std::string& section) {
    std::string headings;
    for (std::size_t at = section.find(".TP\n"); at != std::string::npos; at = section.find(".TP\n", at + 1)) {
      headings += section.substr(at + 4, section.find('\n', at + 4) - at - 4) + "\n";
    }
    return headings;
  }

  /// A shell's script in a file.
  std::string Script(const std::string& shell) const {
    const ProcessResult result = Run({"completion", shell});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::ofstream(Path(shell)) << result.out;
    return Path(shell);
  }

  /// What bash offers for these words; the last is being typed.
  Names Bash(const Words& words) const {
    std::string line =
        "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _shardscout; printf '%s\\n' "
        "\"${COMPREPLY[@]}\"";
    Words command = {"bash", "--norc", "-c", line, Path("bash"), SHARDSCOUT_CLI};
    command.insert(command.end(), words.begin(), words.end());
    const ProcessResult result = RunProcess(command);
    EXPECT_EQ(result.err, "");
    return Lines(result.out);
  }
};

TEST_F(Pages, TheManualNamesEveryCommandAndOption) {
  const ProcessResult result = Run({"man"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::string page = result.out;
  for (std::size_t at = page.find("\\-"); at != std::string::npos; at = page.find("\\-", at)) page.erase(at, 1);
  const auto commands = Help();
  ASSERT_GT(commands.size(), 14u);
  const std::string shared = Headings(page.substr(page.find(".SH SHARED OPTIONS")));
  for (const auto& [command, options] : commands) {
    const std::size_t begin = page.find(".SS shardscout " + command + "\n");
    ASSERT_NE(begin, std::string::npos) << command;
    const std::string section = page.substr(begin, page.find("\n.S", begin) - begin);
    for (const std::string& option : options) {
      if (!option.starts_with("--")) continue;
      const std::string bold = "\\fB" + option + "\\fR";
      EXPECT_THAT(section, HasSubstr(bold)) << command;
      EXPECT_THAT(Headings(section) + shared, HasSubstr(bold)) << command << ": described nowhere";
    }
  }
  EXPECT_THAT(page, HasSubstr("NO_COLOR"));
  if (!Has("groff")) GTEST_SKIP() << "no groff to read it";
  std::ofstream(Path("shardscout.1")) << result.out;
  const ProcessResult groff = RunProcess({"groff", "-man", "-ww", "-Tascii", Path("shardscout.1")});
  EXPECT_EQ(groff.exit_code, 0);
  EXPECT_EQ(groff.err, "") << "warnings";
}

TEST_F(Pages, BashCompletesEveryCommandAndOption) {
  if (!Has("bash")) GTEST_SKIP() << "no bash";
  Script("bash");
  const auto commands = Help();
  Names words = {"--help", "--version", "-h"};
  for (const auto& [command, options] : commands) {
    words.insert(command);
    EXPECT_EQ(Bash({command, "-"}), options) << command;
  }
  EXPECT_EQ(Bash({""}), words);
  EXPECT_THAT(Bash({"sea"}), ElementsAre("search"));
}

TEST_F(Pages, BashCompletesWhatOptionsTake) {
  if (!Has("bash")) GTEST_SKIP() << "no bash";
  Script("bash");
  std::ofstream(Path("my.json")) << "{}";
  EXPECT_THAT(Bash({"search", "--model", "deepseek"}), Contains("deepseek-v3"));
  EXPECT_THAT(Bash({"search", "-m", "deepseek"}), Contains("deepseek-v3"));
  EXPECT_THAT(Bash({"search", "--model", "=", "deepseek"}), Contains("deepseek-v3"))
      << "as bash splits --model=deepseek";
  EXPECT_THAT(Bash({"search", "--model", Path("my")}), ElementsAre(Path("my.json")));
  EXPECT_EQ(Bash({"search", "--cluster", ""}).contains("h100-sxm"), true);
  EXPECT_THAT(Bash({"search", "--device", ""}), ElementsAre("cpu", "cuda"));
  EXPECT_THAT(Bash({"search", "--searcher", "anneal"}), ElementsAre("annealing"));
  EXPECT_THAT(Bash({"compare", "--searchers", "random,anneal"}), ElementsAre("random,annealing"));
  EXPECT_THAT(Bash({"export", "plan.json", "--to", "vl"}), ElementsAre(StartsWith("vllm@")));
  EXPECT_THAT(Bash({"explain", Path("my")}), ElementsAre(Path("my.json")));
  EXPECT_THAT(Bash({"completion", ""}), ElementsAre("bash", "fish", "zsh"));
  EXPECT_THAT(Bash({"search", "--budget", ""}), ElementsAre()) << "a number";
}

TEST_F(Pages, FishCompletes) {
  if (!Has("fish")) GTEST_SKIP() << "no fish";
  const std::string script = Script("fish");
  const std::string folder = std::filesystem::path(SHARDSCOUT_CLI).parent_path().string();
  const auto complete = [&](const std::string& line) {
    // A folder of its own: fish keeps a history.
    const ProcessResult result =
        RunProcess({"fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", script, line},
                   {{"PATH", folder + ":" + std::getenv("PATH")}, {"HOME", folder_.string()}});
    EXPECT_EQ(result.err, "");
    Names words;
    for (const std::string& entry : Lines(result.out)) words.insert(entry.substr(0, entry.find('\t')));
    return words;
  };
  for (const auto& [command, options] : Help()) {
    Names long_options;
    for (const std::string& option : options) {
      if (option.starts_with("--")) long_options.insert(option);
    }
    EXPECT_THAT(complete("shardscout " + command + " --"), IsSupersetOf(long_options)) << command;
    EXPECT_THAT(complete("shardscout "), Contains(command));
  }
  EXPECT_THAT(complete("shardscout search --model deepseek"), Contains("deepseek-v3"));
  EXPECT_THAT(complete("shardscout search --device "), ElementsAre("cpu", "cuda"));
}

TEST_F(Pages, ZshTakesItsScript) {
  if (!Has("zsh")) GTEST_SKIP() << "no zsh";
  const ProcessResult result = RunProcess({"zsh", "-n", Script("zsh")});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err, "");
  const std::string script = Read(Path("zsh"));
  for (const auto& [command, options] : Help()) {
    const std::size_t begin = script.find("\n    " + command + ")\n");
    ASSERT_NE(begin, std::string::npos) << command;
    const std::string section = script.substr(begin, script.find(";;", begin) - begin);
    for (const std::string& option : options) EXPECT_THAT(section, HasSubstr(option)) << command;
  }
}

TEST_F(Pages, NamesOfAListAreOneALine) {
  const Names models = Lines(Run({"list", "models", "--names"}).out);
  EXPECT_TRUE(models.contains("deepseek-v3"));
  EXPECT_EQ(models.size(), Lines(Run({"list", "models"}).out).size() - 1) << "all but the header";
}

TEST_F(Pages, NoColorLeavesColoursOut) {
  if (!Has("script")) GTEST_SKIP() << "no script, which makes a terminal";
  if (RunProcess({"script", "-qec", "true", "/dev/null"}, {}).exit_code != 0)
    GTEST_SKIP() << "no terminal is to be had";
  std::string command = SHARDSCOUT_CLI;
  for (const std::string& word : Search()) command += " " + word;
  const auto run = [&](const std::string& no_color) {
    return RunProcess({"script", "-qec", command, "/dev/null"}, {{"TERM", "xterm"}, {"NO_COLOR", no_color}}).out;
  };
  EXPECT_THAT(run(""), HasSubstr("\033[32minfo")) << "empty is not set";
  EXPECT_THAT(run("1"), Not(HasSubstr("\033[32m")));
}

TEST_F(Pages, TheLogsFileKeepsWhatQuietKeepsOffStderr) {
  const std::string log = Path("log.txt");
  EXPECT_EQ(Run(Search({"--quiet", "--log-file", log})).err, "");
  EXPECT_THAT(Read(log), HasSubstr("search --model llama-3.1-8b"));
  EXPECT_THAT(Read(log), HasSubstr("info: annealing: 300 evaluations"));
  const ProcessResult wrong = Run({"search", "--quiet", "--log-file", log, "--model", "no-such-model", "--cluster",
                                   "h100-sxm", "--workload", "decode-chat"});
  ExpectUserError(wrong, "no-such-model");
  EXPECT_THAT(Read(log), HasSubstr("error: shardscout: "));
  EXPECT_THAT(Read(log), HasSubstr("info: annealing: 300 evaluations")) << "added, not written anew";
  ExpectUserError(Run(Search({"--log-file", Path("no/such/folder/log.txt")})), "cannot be written");
}

TEST_F(Pages, CurvesForTensorBoard) {
  ASSERT_EQ(Run(Search({"--quiet", "--tensorboard", Path("runs")})).exit_code, 0);
  std::vector<ReadEvent> events;
  for (const auto& entry : std::filesystem::directory_iterator(Path("runs"))) {
    events = ReadEvents(Read(entry.path().string()));
  }
  ASSERT_GT(events.size(), 100u);
  EXPECT_EQ(events.front().file_version, "brain.Event:2");
  EXPECT_EQ(events.back().step, 300);
  float best = 0;
  for (std::size_t i = 1; i < events.size(); ++i) {
    ASSERT_TRUE(events[i].scalars.contains("search/best_reward"));
    EXPECT_LE(events[i - 1].step, events[i].step);
    EXPECT_GE(events[i].scalars["search/feasible_share"], 0.0f);
    best = events[i].scalars["search/best_reward"];
  }
  EXPECT_GT(best, 1.0f) << "above Megatron's";
  ExpectUserError(Run(Search({"--quiet", "--tensorboard", "/dev/null/runs"})), "no event file");
}

}  // namespace
}  // namespace shardscout::test
