#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "shardscout/cluster_topology.h"
#include "shardscout/plan.h"
#include "shardscout/preset_paths.h"
#include "src/cli/commands.h"
#include "src/cli/describe.h"
#include "src/cli/option_table.h"
#include "src/cli/output.h"

namespace shardscout::cli {
namespace {

using nlohmann::ordered_json;

struct Arguments {
  std::string file, like, out;
  std::int64_t nodes = 0;
};

std::string Order(const ClusterTopology& topology) {
  std::string text;
  for (const std::int64_t device : topology.device_order) text += (text.empty() ? "" : ",") + std::to_string(device);
  return text;
}

int Run(const Arguments& arguments, const Context& context) {
  const ClusterTopology topology = ReadClusterTopology(ReadTextFile(arguments.file), arguments.file);
  const ClusterSpec cluster = ClusterOf(topology, LoadCluster(arguments.like), arguments.nodes);
  if (!arguments.out.empty()) WriteFileAtomically(arguments.out, ToJson(cluster));
  if (context.json) {
    ordered_json json;
    json["source"] = topology.source;
    json["cluster"] = ordered_json::parse(ToJson(cluster));
    json["device_order"] = topology.device_order;
    json["notes"] = topology.notes;
    PrintDocument(json);
    return kExitResult;
  }
  std::cout << "read      " << topology.source << ": " << cluster.num_devices << " devices, "
            << cluster.devices_per_node << " a node, like " << arguments.like << "\n";
  Table table({"tier", ">devices", ">a device's share"});
  for (const NetworkTier& tier : cluster.tiers) {
    table.AddRow({tier.name, tier.size == 0 ? "all" : Grouped(tier.size), Bytes(tier.bytes_per_s) + "/s"});
  }
  table.Print(std::cout);
  for (const std::string& note : topology.notes) std::cout << "note      " << note << "\n";
  if (!topology.device_order.empty()) {
    std::cout << "ranks     in order, so that each tier's are neighbours: CUDA_VISIBLE_DEVICES=" << Order(topology)
              << "\n";
  }
  if (!arguments.out.empty()) std::cout << "cluster   " << arguments.out << "\n";
  return kExitResult;
}

}  // namespace

void AddImportClusterCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();  // shared with the callback, which outlives this function
  CLI::App* command = app.add_subcommand("import-cluster", "Make a cluster file of a machine's or a site's topology");
  command
      ->add_option("file", arguments->file,
                   "Text of nvidia-smi topo -m, NCCL's topology (XML), or Slurm's topology.conf")
      ->type_name(takes::kFile)
      ->required();
  command->add_option("--like", arguments->like, "A cluster whose devices and outer network these are")
      ->type_name(takes::kCluster)
      ->required();
  command->add_option("--nodes", arguments->nodes, "Nodes [1, or what the file says]")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20));
  command->add_option("--out,-o", arguments->out, "Where the cluster file is written [not written]")
      ->type_name(takes::kFile);
  AddCommonOptions(*command, context);
  command->footer(
      "Examples:\n"
      "  nvidia-smi topo -m > topo.txt\n"
      "  shardscout import-cluster topo.txt --like h100-pcie-nvlink --out cluster.json\n"
      "  shardscout import-cluster topology.conf --like h100-sxm --out cluster.json");
  command->callback(
      [arguments, &context] { context.run = [arguments, &context] { return Run(*arguments, context); }; });
}

}  // namespace shardscout::cli
