#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "shardscout/deployment.h"
#include "shardscout/error.h"
#include "shardscout/preset_paths.h"
#include "shardscout/problem.h"
#include "shardscout/search_suite.h"
#include "src/cli/commands.h"
#include "src/cli/describe.h"
#include "src/cli/output.h"

namespace shardscout::cli {
namespace {

using nlohmann::ordered_json;

/// A section of the listing: rows of text for people, objects for machines.
struct Section {
  std::string name;
  Table table;
  ordered_json rows;
};

Section Models() {
  Section section{"models", Table({"model", ">parameters", ">active", ">layers", "weights", ">KV bytes a token"}),
                  ordered_json::array()};
  for (const std::string& name : ListPresets("models")) {
    const ModelSpec model = LoadModel(name);
    const ParameterCount parameters = CountParameters(model);
    const double kv_bytes = static_cast<double>(KvElementsPerToken(model)) * BytesPerElement(model.kv_dtype) +
                            static_cast<double>(model.num_layers * IndexCacheBytesPerToken(model));
    section.table.AddRow({name, Number(static_cast<double>(parameters.total) / 1e9) + " B",
                          Number(static_cast<double>(parameters.active) / 1e9) + " B", Grouped(model.num_layers),
                          std::string(ToString(model.weight_dtype)), Number(kv_bytes)});
    section.rows.push_back({{"name", name},
                            {"parameters", parameters.total},
                            {"active_parameters", parameters.active},
                            {"layers", model.num_layers},
                            {"weight_dtype", ToString(model.weight_dtype)},
                            {"kv_bytes_per_token", kv_bytes}});
  }
  return section;
}

Section Clusters() {
  Section section{"clusters", Table({"cluster", "device", ">memory", ">bandwidth", ">a node", "network"}),
                  ordered_json::array()};
  for (const std::string& name : ListPresets("clusters")) {
    const ClusterSpec cluster = LoadCluster(name);
    std::string network;
    for (const NetworkTier& tier : cluster.tiers) {
      network += (network.empty() ? "" : ", ") + tier.name + " " + Number(tier.bytes_per_s / 1e9) + " GB/s";
    }
    section.table.AddRow({name, cluster.device.name, Bytes(cluster.device.hbm_bytes),
                          Number(cluster.device.hbm_bytes_per_s / 1e12) + " TB/s", Grouped(cluster.devices_per_node),
                          network});
    section.rows.push_back({{"name", name},
                            {"device", cluster.device.name},
                            {"hbm_bytes", cluster.device.hbm_bytes},
                            {"hbm_bytes_per_s", cluster.device.hbm_bytes_per_s},
                            {"devices_per_node", cluster.devices_per_node}});
  }
  return section;
}

Section Workloads() {
  Section section{"workloads", Table({"workload", "kind", ">input", ">output", ">TTFT", ">TPOT", "objective"}),
                  ordered_json::array()};
  const auto limit = [](const std::optional<double>& target) { return target ? Duration(*target) : "-"; };
  for (const std::string& name : ListPresets("workloads")) {
    const WorkloadSpec workload = LoadWorkload(name);
    section.table.AddRow({name, std::string(ToString(workload.kind)), Grouped(workload.input_tokens),
                          Grouped(workload.output_tokens), limit(workload.ttft_target_s), limit(workload.tpot_target_s),
                          std::string(ToString(workload.objective))});
    section.rows.push_back({{"name", name},
                            {"kind", ToString(workload.kind)},
                            {"input_tokens", workload.input_tokens},
                            {"output_tokens", workload.output_tokens},
                            {"objective", ToString(workload.objective)}});
  }
  return section;
}

Section Engines() {
  Section section{"engines", Table({"engine", "overlaps", ">gap a layer", ">launch a layer", ">request", ">arrival"}),
                  ordered_json::array()};
  for (const std::string& name : ListPresets("engines")) {
    const EngineModel engine = LoadEngine(name);
    section.table.AddRow({name, engine.overlaps ? "yes" : "no", Duration(engine.layer_gap_s),
                          Duration(engine.layer_launch_s), Duration(engine.request_host_s),
                          Duration(engine.arrival_s)});
    section.rows.push_back({{"name", name},
                            {"overlaps", engine.overlaps},
                            {"layer_gap_s", engine.layer_gap_s},
                            {"request_host_s", engine.request_host_s},
                            {"layer_launch_s", engine.layer_launch_s},
                            {"arrival_s", engine.arrival_s}});
  }
  return section;
}

Section Suites() {
  Section section{"suites", Table({"suite", ">problems", ">budget", "searchers"}), ordered_json::array()};
  for (const std::string& name : ListPresets("searches")) {
    SearchSuite suite;
    try {
      suite = LoadSuite(name);
    } catch (const SpecError&) {  // Searchers' settings may lie in the same folder; check says what is wrong.
      continue;
    }
    std::string searchers;
    for (const std::string& searcher : suite.searchers) searchers += (searchers.empty() ? "" : ", ") + searcher;
    section.table.AddRow(
        {name, Grouped(static_cast<std::int64_t>(suite.problems.size())), Grouped(suite.budget), searchers});
    section.rows.push_back({{"name", name},
                            {"problems", suite.problems.size()},
                            {"budget", suite.budget},
                            {"searchers", suite.searchers}});
  }
  return section;
}

Section Searchers(const Context& context) {
  Section section{"searchers", Table({"searcher", "setting", "default", "range", "meaning"}), ordered_json::array()};
  for (const auto& [name, entry] : context.searchers.entries()) {
    ordered_json row = {{"name", name}, {"description", entry.description}, {"settings", ordered_json::array()}};
    section.table.AddRow({name, "", "", "", entry.description});
    for (const SettingDescription& setting : entry.settings) {
      section.table.AddRow({"", setting.name, setting.default_value, setting.range, setting.doc});
      row["settings"].push_back({{"name", setting.name},
                                 {"type", setting.type},
                                 {"default", setting.default_value},
                                 {"range", setting.range},
                                 {"doc", setting.doc}});
    }
    section.rows.push_back(std::move(row));
  }
  return section;
}

Section Evaluators(const Context& context) {
  Section section{"evaluators", Table({"evaluator", "meaning"}), ordered_json::array()};
  for (const auto& [name, description] : context.evaluators.List()) {
    section.table.AddRow({name, description});
    section.rows.push_back({{"name", name}, {"description", description}});
  }
  return section;
}

Section Exporters(const Context& context) {
  Section section{"exporters", Table({"exporter"}), ordered_json::array()};
  for (const std::string& name : context.exporters.List()) {
    section.table.AddRow({name});
    section.rows.push_back({{"name", name}});
  }
  return section;
}

Section Rules() {
  Section section{"rules", Table({"rule", "version", "what has to hold", "source"}), ordered_json::array()};
  for (const FrameworkRule& rule : FrameworkRules()) {
    section.table.AddRow({rule.id, rule.version, rule.condition, rule.source});
    section.rows.push_back({{"id", rule.id},
                            {"framework", rule.framework},
                            {"version", rule.version},
                            {"condition", rule.condition},
                            {"source", rule.source}});
  }
  return section;
}

int PrintNames(const std::vector<Section>& sections) {
  for (const Section& section : sections) {
    const char* const key = section.name == "rules" ? "id" : "name";
    for (const ordered_json& row : section.rows) std::cout << row.at(key).get<std::string>() << "\n";
  }
  return kExitResult;
}

int Run(const std::vector<std::string>& kinds, bool names, const Context& context) {
  const auto wanted = [&](const char* kind) {
    return kinds.empty() || std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
  };
  std::vector<Section> sections;
  if (wanted("models")) sections.push_back(Models());
  if (wanted("clusters")) sections.push_back(Clusters());
  if (wanted("workloads")) sections.push_back(Workloads());
  if (wanted("engines")) sections.push_back(Engines());
  if (wanted("suites")) sections.push_back(Suites());
  if (wanted("searchers")) sections.push_back(Searchers(context));
  if (wanted("evaluators")) sections.push_back(Evaluators(context));
  if (wanted("exporters")) sections.push_back(Exporters(context));
  if (wanted("rules")) sections.push_back(Rules());
  if (names) return PrintNames(sections);
  if (context.json) {
    ordered_json json;
    for (Section& section : sections) json[section.name] = std::move(section.rows);
    PrintDocument(json);
    return kExitResult;
  }
  for (std::size_t i = 0; i < sections.size(); ++i) {
    if (i > 0) std::cout << "\n";
    sections[i].table.Print(std::cout);
  }
  return kExitResult;
}

}  // namespace

void AddListCommand(CLI::App& app, Context& context) {
  auto kinds = std::make_shared<std::vector<std::string>>();  // shared with the callback, which outlives this function
  CLI::App* command =
      app.add_subcommand("list", "Presets, searchers with their settings, evaluators, exporters and frameworks' rules");
  command->add_option("kinds", *kinds, "Which of them [all]")
      ->check(CLI::IsMember(
          {"models", "clusters", "workloads", "engines", "suites", "searchers", "evaluators", "exporters", "rules"}));
  auto names = std::make_shared<bool>(false);
  command->add_flag("--names", *names, "Only their names, one a line")->group("Output");
  AddCommonOptions(*command, context);
  command->footer("Examples:\n  shardscout list\n  shardscout list searchers --json\n  shardscout list models --names");
  command->callback(
      [kinds, names, &context] { context.run = [kinds, names, &context] { return Run(*kinds, *names, context); }; });
}

}  // namespace shardscout::cli
