#include <spdlog/spdlog.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "shardscout/check.h"
#include "shardscout/error.h"
#include "shardscout/preset_paths.h"
#include "src/cli/commands.h"
#include "src/cli/describe.h"
#include "src/cli/option_table.h"

namespace shardscout::cli {
namespace {

using nlohmann::ordered_json;

struct Arguments {
  std::vector<std::string> files;
  std::string kind;
  std::string schema;
};

struct Checked {
  std::string file;
  std::string kind;  ///< Empty where the file does not tell.
  std::string place, error;
  std::vector<std::string> warnings;
};

Checked CheckFile(const std::string& file, const std::string& kind, const Context& context) {
  Checked checked{file, kind, "", "", {}};
  try {
    const std::string text = ReadTextFile(file);
    const SpecKind which = kind.empty() ? DetectSpecKind(text, file, context.searchers) : ParseSpecKind(kind, "--kind");
    checked.kind = ToString(which);
    CheckSpec(which, text, file, context.searchers, &checked.warnings);
  } catch (const SpecError& error) {
    checked.place = error.place();
    checked.error = error.what();
  }
  return checked;
}

ordered_json ToJson(const Checked& checked) {
  ordered_json row;
  row["file"] = checked.file;
  row["kind"] = checked.kind.empty() ? ordered_json(nullptr) : ordered_json(checked.kind);
  row["valid"] = checked.error.empty();
  row["place"] = checked.error.empty() ? ordered_json(nullptr) : ordered_json(checked.place);
  row["error"] = checked.error.empty() ? ordered_json(nullptr) : ordered_json(checked.error);
  row["warnings"] = checked.warnings;
  return row;
}

int Run(const Arguments& arguments, const Context& context) {
  if (!arguments.schema.empty()) {
    std::cout << SchemaJson(ParseSpecKind(arguments.schema, "--print-schema"), context.searchers);
    return kExitResult;
  }
  if (arguments.files.empty()) throw SpecError("check", "give one or more files, or --print-schema KIND");
  if (!arguments.kind.empty()) ParseSpecKind(arguments.kind, "--kind");
  bool valid = true;
  ordered_json rows = ordered_json::array();
  for (const std::string& file : arguments.files) {
    const Checked checked = CheckFile(file, arguments.kind, context);
    valid = valid && checked.error.empty();
    if (context.json) {
      rows.push_back(ToJson(checked));
      continue;
    }
    for (const std::string& warning : checked.warnings) spdlog::warn(warning);
    if (checked.error.empty()) {
      std::cout << file << ": " << checked.kind << "\n";
    } else {
      std::cerr << "shardscout: " << checked.error << "\n";
    }
  }
  if (context.json) PrintDocument({{"valid", valid}, {"files", rows}});
  return valid ? kExitResult : kExitUser;
}

}  // namespace

void AddCheckCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();  // shared with the callback, which outlives this function
  CLI::App* command = app.add_subcommand("check", "Validate files, and say exactly what is wrong and where");
  CLI::Option* files =
      command
          ->add_option("files", arguments->files, "Models, clusters, workloads, searches, suites, strategies and plans")
          ->type_name(takes::kFile);
  command->add_option("--kind", arguments->kind, "What the files are [told by their keys]");
  command
      ->add_option("--print-schema", arguments->schema,
                   "Print the JSON Schema of model, cluster, workload, search, "
                   "strategy, plan or suite")
      ->type_name("KIND")
      ->excludes(files);
  AddCommonOptions(*command, context);
  command->footer(
      "One line a file: its kind on stdout, or its first mistake on stderr. The exit code is 2 where a file has "
      "one.\n\n"
      "Examples:\n"
      "  shardscout check my-cluster.json plan.json\n"
      "  shardscout check --print-schema cluster > cluster.schema.json");
  command->callback(
      [arguments, &context] { context.run = [arguments, &context] { return Run(*arguments, context); }; });
}

}  // namespace shardscout::cli
