#include "src/cli/option_table.h"

#include <CLI/CLI.hpp>
#include <array>
#include <string_view>
#include <utility>

namespace shardscout::cli {
namespace {

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t end = text.find(separator); end != std::string_view::npos; end = text.find(separator)) {
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  parts.emplace_back(text);
  return parts;
}

/// CLI11 writes an option's type and then what its validators say: "TEXT:{cpu,cuda}", "INT:INT in [1 - 64]:".
void ReadType(const std::string& type, OptionRow& row) {
  const std::vector<std::string> parts = Split(type, ':');
  row.takes = parts.front();
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (parts[i].starts_with('{') && parts[i].ends_with('}')) {
      row.choices = Split(std::string_view(parts[i]).substr(1, parts[i].size() - 2), ',');
    } else if (!parts[i].empty()) {
      row.allowed += (row.allowed.empty() ? "" : ", ") + parts[i];
    }
  }
}

OptionRow RowOf(const CLI::Option& option) {
  OptionRow row;
  for (const std::string& name : option.get_lnames()) row.names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) row.names.push_back("-" + name);
  row.by_place = row.names.empty();
  if (row.by_place) row.names.push_back(option.get_name(true));
  if (option.get_items_expected_max() > 0) ReadType(option.get_type_name(), row);
  row.default_value = option.get_default_str();
  row.description = option.get_description();
  row.group = option.get_group();
  row.required = option.get_required();
  row.repeatable = option.get_items_expected_max() > 1;
  return row;
}

CommandRow RowOf(const CLI::App& app) {
  CommandRow row{app.get_name(), app.get_description(), app.get_footer(), {}};
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_group().empty()) row.options.push_back(RowOf(*option));
  }
  return row;
}

}  // namespace

OptionTable TableOf(const CLI::App& app) {
  OptionTable table{RowOf(app), {}};
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    table.commands.push_back(RowOf(*command));
  }
  return table;
}

Completion CompletionOf(const OptionRow& option) {
  using Kind = Completion::Kind;
  static const std::array<std::pair<std::string_view, Completion>, 11> kKinds = {{
      {takes::kFile, {Kind::kFiles, ""}},
      {takes::kFolder, {Kind::kFolders, ""}},
      {takes::kModel, {Kind::kNamesOrFiles, "models"}},
      {takes::kCluster, {Kind::kNamesOrFiles, "clusters"}},
      {takes::kWorkload, {Kind::kNamesOrFiles, "workloads"}},
      {takes::kEngine, {Kind::kNamesOrFiles, "engines"}},
      {takes::kSuite, {Kind::kNamesOrFiles, "suites"}},
      {takes::kSearcher, {Kind::kNames, "searchers"}},
      {takes::kSearchers, {Kind::kNameList, "searchers"}},
      {takes::kEvaluator, {Kind::kNames, "evaluators"}},
      {takes::kExporter, {Kind::kNames, "exporters"}},
  }};
  if (!option.choices.empty()) return {Kind::kWords, ""};
  for (const auto& [word, completion] : kKinds) {
    if (option.takes == word) return completion;
  }
  return {};
}

}  // namespace shardscout::cli
