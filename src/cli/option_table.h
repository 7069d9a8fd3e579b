#pragma once

// The commands and their options as plain values, read off CLI11's tree: what the manual page (man_page.h) and the
// shells' completions (completion.h) are made of, so that these cannot say other than the program does.

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace shardscout::cli {

/// What options take, beside CLI11's own TEXT, INT and FLOAT: --help shows these words, and completions know what to
/// offer for them. A command's code gives them by CLI::Option::type_name.
namespace takes {
inline constexpr const char* kFile = "FILE";
inline constexpr const char* kFolder = "FOLDER";
inline constexpr const char* kModel = "MODEL";  ///< A file or a preset, as the four after it.
inline constexpr const char* kCluster = "CLUSTER";
inline constexpr const char* kWorkload = "WORKLOAD";
inline constexpr const char* kEngine = "ENGINE";
inline constexpr const char* kSuite = "SUITE";
inline constexpr const char* kSearcher = "SEARCHER";
inline constexpr const char* kSearchers = "SEARCHERS";  ///< Separated by commas.
inline constexpr const char* kEvaluator = "EVALUATOR";
inline constexpr const char* kExporter = "EXPORTER";
}  // namespace takes

struct OptionRow {
  std::vector<std::string> names;    ///< "--model", "-m"; of an argument by place one without dashes.
  std::string takes;                 ///< "INT", "FILE"; "": a flag.
  std::vector<std::string> choices;  ///< Where only these are taken.
  std::string allowed;               ///< Other limits, in words: "INT in [1 - 64]".
  std::string default_value;
  std::string description;
  std::string group;
  bool by_place = false;
  bool required = false;
  bool repeatable = false;

  bool operator==(const OptionRow&) const = default;
};

struct CommandRow {
  std::string name, description, footer;
  std::vector<OptionRow> options;
};

struct OptionTable {
  CommandRow program;
  std::vector<CommandRow> commands;  ///< In the order in which --help lists them.
};

/// Hidden options (those without a group) are left out.
OptionTable TableOf(const CLI::App& app);

/// What completes an option's value.
struct Completion {
  enum class Kind { kNothing, kFiles, kFolders, kWords, kNames, kNamesOrFiles, kNameList };
  Kind kind = Kind::kNothing;
  std::string list;  ///< Of names: what `shardscout list LIST --names` prints.
};
Completion CompletionOf(const OptionRow& option);

}  // namespace shardscout::cli
