#include "src/export/chakra.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "env/simulator/pass_simulation.h"
#include "shardscout/error.h"
#include "shardscout/strategy_space.h"
#include "src/export/astra_sim.h"
#include "src/export/chakra_file.h"
#include "src/export/chakra_trace.h"
#include "src/export/lowering.h"

namespace shardscout::exporters {
namespace {

/// What is traced of a phase.
struct TracedPhase {
  Phase phase = Phase::kPrefill;
  std::int64_t microbatches = 1;
  std::int64_t rounds = 1;  ///< Tokens, in decode.
};

std::vector<TracedPhase> PhasesOf(const Problem& problem, const Strategy& s) {
  std::vector<TracedPhase> phases;
  const WorkloadSpec& workload = problem.workload();
  if (workload.HasPhase(Phase::kPrefill)) {
    const std::int64_t microbatches = workload.kind == WorkloadKind::kServe ? 1 : s.num_microbatches;
    phases.push_back({Phase::kPrefill, microbatches, 1});
  }
  if (workload.HasPhase(Phase::kDecode)) {
    phases.push_back({Phase::kDecode, s.num_microbatches, s.pipeline_parallel_size > 1 ? env::kDecodeRounds : 1});
  }
  return phases;
}

ChakraHeader HeaderOf(const Plan& plan, Phase phase, const Strategy& s, std::int64_t rank) {
  return {.model = plan.model_name,
          .phase = std::string(ToString(phase)),
          .rank = rank,
          .stage_size = s.InstanceSize() / s.pipeline_parallel_size};
}

/// From one micro-batch's pass.
struct Estimate {
  double bytes = 0;                               ///< Of all traces.
  std::array<double, kNumDTypes> flop_by_type{};  ///< Of a rank of each stage.
};

Estimate EstimateTraces(const Plan& plan, const Problem& problem, const Strategy& s) {
  Estimate estimate;
  for (const TracedPhase& traced : PhasesOf(problem, s)) {
    const env::PassMaker maker(problem, s, traced.phase, {});
    const env::Pass pass = maker.Make(1, 1, true);
    const env::Schedule schedule = env::Simulate(pass.graph);
    CommGroups groups;
    for (std::int32_t stage = 0; stage < s.pipeline_parallel_size; ++stage) {
      const std::vector<ChakraNode> nodes = TraceStage(maker, pass, schedule, stage);
      ChakraHeader header = HeaderOf(plan, traced.phase, s, 0);
      header.rank = stage * header.stage_size;
      const auto copies = static_cast<double>(traced.microbatches * traced.rounds * header.stage_size);
      estimate.bytes += copies * static_cast<double>(ChakraFileText(header, nodes, groups).size());
      for (const ChakraNode& node : nodes) {
        estimate.flop_by_type[static_cast<std::size_t>(node.dtype)] += static_cast<double>(node.num_ops);
      }
    }
  }
  return estimate;
}

std::string Mib(double bytes) { return std::to_string(std::llround(std::ceil(bytes / (1024 * 1024)))) + " MiB"; }

void AddTraces(const Plan& plan, const Problem& problem, const Strategy& s, const TracedPhase& traced,
               CommGroups& groups, std::vector<ExportFile>& files) {
  const env::PassMaker maker(problem, s, traced.phase, {});
  const env::Pass pass = maker.Make(traced.microbatches, traced.rounds, true);
  const env::Schedule schedule = env::Simulate(pass.graph);
  for (std::int32_t stage = 0; stage < s.pipeline_parallel_size; ++stage) {
    const std::vector<ChakraNode> nodes = TraceStage(maker, pass, schedule, stage);
    ChakraHeader header = HeaderOf(plan, traced.phase, s, 0);
    for (std::int64_t i = 0; i < header.stage_size; ++i) {
      header.rank = stage * header.stage_size + i;
      files.push_back(
          {header.phase + "." + std::to_string(header.rank) + ".et", ChakraFileText(header, nodes, groups)});
    }
  }
}

std::string CommandOf(Phase phase) {
  return "AstraSim_Analytical_Congestion_Unaware --workload-configuration=" + std::string(ToString(phase)) +
         " --comm-group-configuration=comm_groups.json --system-configuration=system.json"
         " --remote-memory-configuration=remote_memory.json --network-configuration=network.yml";
}

/// "prefill.RANK.et: a pass of 4 micro-batches".
std::string DescribePhase(const TracedPhase& traced) {
  const std::string microbatches =
      traced.microbatches == 1 ? "one micro-batch" : std::to_string(traced.microbatches) + " micro-batches";
  std::string text = std::string(ToString(traced.phase)) + ".RANK.et: a pass of " + microbatches;
  if (traced.phase == Phase::kPrefill) return text;
  return text + (traced.rounds == 1 ? " for one token" : " for each of " + std::to_string(traced.rounds) + " tokens");
}

std::vector<std::string> NotesOf(const Problem& problem, const Strategy& s, const std::vector<TracedPhase>& phases) {
  std::vector<std::string> notes;
  notes.reserve(phases.size() + 2);
  for (const TracedPhase& traced : phases) notes.push_back(DescribePhase(traced));
  if (const std::int64_t replicas = problem.Replicas(s); replicas > 1) {
    notes.push_back("the traces are of one of " + std::to_string(replicas) + " equal instances of " +
                    std::to_string(s.InstanceSize()) + " devices");
  }
  if (problem.workload().kind == WorkloadKind::kServe) {
    notes.push_back("a prefill pass and a token are traced each by itself, without the arrivals of requests");
  }
  return notes;
}

/// What ASTRA-sim needs beside the traces.
void AddAstraSim(const Problem& problem, const Strategy& s, const Estimate& estimate,
                 const std::vector<TracedPhase>& phases, ExportResult& result) {
  const AstraNetwork network = DescribeNetwork(problem.cluster(), s.InstanceSize());
  if (!network.why_not.empty()) {
    result.notes.push_back("no network.yml and system.json for ASTRA-sim: " + network.why_not);
    return;
  }
  const auto& flop = estimate.flop_by_type;
  const auto dtype = static_cast<DType>(std::max_element(flop.begin(), flop.end()) - flop.begin());
  result.files.push_back({"network.yml", NetworkYaml(network)});
  result.files.push_back({"system.json", SystemJson(network, problem.cluster().device, dtype)});
  result.files.push_back({"remote_memory.json", "{ \"memory-type\": \"NO_MEMORY_EXPANSION\" }\n"});
  result.command = CommandOf(phases.front().phase);
  result.notes.push_back("system.json has the device's peak in " + std::string(ToString(dtype)) +
                         ", in which most of the FLOP are");
  result.notes.push_back(
      "the command runs in the folder of the files, with ASTRA-sim's build/astra_analytical/build/bin "
      "in the PATH" +
      std::string(phases.size() == 1 ? "" : "; with --workload-configuration=decode it replays decode"));
}

}  // namespace

ExportResult ChakraExporter::Export(const Plan& plan, const Reevaluate&) const {
  if (plan.pools.size() != 1) {
    throw SpecError("--to chakra", "the plan has " + std::to_string(plan.pools.size()) +
                                       " pools; this exporter traces one kind of instance");
  }
  const Problem problem = ParseProblem(plan.problem_json, "plan");
  RefuseTraining(problem, "--to chakra");
  const Strategy& strategy = plan.pools.front().strategy;
  if (const std::string broken = StrategySpace(problem).WhyNot(strategy); !broken.empty()) {
    throw SpecError("plan", broken);
  }
  const Estimate estimate = EstimateTraces(plan, problem, strategy);
  if (estimate.bytes > options_.max_bytes) {
    throw SpecError("--to chakra", "the traces of " + std::to_string(strategy.InstanceSize()) + " ranks and " +
                                       std::to_string(strategy.num_microbatches) + " micro-batches would take " +
                                       Mib(estimate.bytes) + ", more than " + Mib(options_.max_bytes) +
                                       "; export a plan with fewer micro-batches or a smaller instance");
  }
  ExportResult result;
  result.target = std::string(Name());
  result.lowered = strategy;
  const std::vector<TracedPhase> phases = PhasesOf(problem, strategy);
  CommGroups groups;
  for (const TracedPhase& traced : phases) AddTraces(plan, problem, strategy, traced, groups, result.files);
  result.files.push_back({"comm_groups.json", groups.Json()});
  result.notes = NotesOf(problem, strategy, phases);
  AddAstraSim(problem, strategy, estimate, phases, result);
  return result;
}

}  // namespace shardscout::exporters
