#include <cstdlib>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "env/live/worker_pool.h"
#include "shardscout/error.h"
#include "shardscout/live_run.h"
#include "src/cli/commands.h"
#include "src/cli/describe.h"
#include "src/cli/output.h"
#include "src/cli/strategy_input.h"

namespace shardscout::cli {
namespace {

using nlohmann::ordered_json;

std::string Spread(const Timing& timing) { return Percent(timing.spread); }

void PrintPhase(const LiveReport& report, const LivePhase& phase) {
  std::cout << "\n"
            << ToString(phase.phase) << ": " << Duration(phase.measured.median_s) << " (least "
            << Duration(phase.measured.least_s) << ", spread " << Spread(phase.measured) << ")";
  if (phase.predicted_s > 0) std::cout << ", predicted " << Duration(phase.predicted_s);
  std::cout << "\n";
  Table table({"operator", "what", ">calls", ">measured", ">least", ">spread", ">predicted", ">bytes", ">predicted"});
  double collectives = 0, operators = 0;
  for (const LiveRow& row : report.rows) {
    if (row.phase != phase.phase) continue;
    (row.collective ? collectives : operators) += row.measured.median_s;
    table.AddRow({std::string(ToString(row.op)), row.what, Grouped(row.calls), Duration(row.measured.median_s),
                  Duration(row.measured.least_s), Spread(row.measured), Duration(row.predicted_s),
                  row.collective ? Bytes(row.measured_bytes) : "",
                  row.collective ? Bytes(row.predicted_bytes) + (row.routed ? " (mean)" : "") : ""});
  }
  table.Print(std::cout);
  std::cout << "operators " << Duration(operators) << ", collectives " << Duration(collectives)
            << ", between tasks and waiting "
            << Duration(std::max(0.0, phase.measured.median_s - operators - collectives)) << "\n";
}

void Print(const Problem& problem, const LiveReport& report, const LiveOptions& options) {
  PrintProblem(std::cout, problem);
  std::cout << "strategy  " << ToShortString(report.strategy) << "\n"
            << "processes " << report.num_processes << ", " << options.repeats << " repeats after " << options.warmup
            << " to warm up\n";
  if (report.logits_rows > 0) {
    std::cout << "proof     " << (report.Right() ? "equal to the unsharded model" : "DIFFERS from the unsharded model")
              << ": " << Grouped(report.logits_rows) << " rows of logits, largest difference "
              << Number(report.max_error) << " of their size (allowed " << Number(kLiveTolerance) << ")\n";
  }
  for (const LivePhase& phase : report.phases) PrintPhase(report, phase);
}

ordered_json TimingJson(const Timing& timing) {
  return {{"median_s", timing.median_s}, {"least_s", timing.least_s}, {"spread", timing.spread}};
}

void PrintJson(const Problem& problem, const LiveReport& report) {
  ordered_json json;
  json["problem"] = ProblemSummaryJson(problem);
  json["strategy"] = ordered_json::parse(ToJson(report.strategy));
  json["processes"] = report.num_processes;
  json["max_error"] = report.max_error;
  json["logits_rows"] = report.logits_rows;
  json["right"] = report.Right();
  json["phases"] = ordered_json::array();
  for (const LivePhase& phase : report.phases) {
    json["phases"].push_back({{"phase", ToString(phase.phase)},
                              {"predicted_s", phase.predicted_s},
                              {"measured", TimingJson(phase.measured)}});
  }
  json["rows"] = ordered_json::array();
  for (const LiveRow& row : report.rows) {
    json["rows"].push_back({{"phase", ToString(row.phase)},
                            {"operator", ToString(row.op)},
                            {"what", row.what},
                            {"collective", row.collective},
                            {"calls", row.calls},
                            {"predicted_s", row.predicted_s},
                            {"measured", TimingJson(row.measured)},
                            {"predicted_bytes", row.predicted_bytes},
                            {"measured_bytes", row.measured_bytes},
                            {"routed", row.routed}});
  }
  PrintDocument(json);
}

struct Arguments : StrategyArguments {
  bool no_proof = false;
};

/// The file's strategy, or a usual one for as many devices as there are processes.
std::pair<Problem, Strategy> ReadInput(const Arguments& arguments, int num_processes) {
  if (!arguments.file.empty() || !arguments.strategy_file.empty()) {
    StrategyInput input = ReadStrategyInput(arguments);
    return {std::move(input.problem), input.strategy};
  }
  Problem problem = MakeProblem(arguments.problem);
  const Strategy strategy =
      DefaultLiveStrategy(problem, std::min<std::int64_t>(num_processes, problem.cluster().num_devices));
  return {std::move(problem), strategy};
}

int Run(const Arguments& arguments, Context& context) {
  LiveOptions options = *context.live;
  options.prove = !arguments.no_proof;
  LiveSession session(options);
  const auto [problem, strategy] = ReadInput(arguments, session.num_processes());
  const LiveReport report = session.Run(problem, {strategy}).front();
  context.json ? PrintJson(problem, report) : Print(problem, report, options);
  return report.Right() || !options.prove ? kExitResult : kExitBug;
}

}  // namespace

void AddLiveOptions(CLI::App& command, Context& context) {
  LiveOptions& live = *context.live;
  const auto add = [&](const char* name, auto& value, const char* help) {
    return command.add_option(name, value, help)->group("Live runs")->take_last()->capture_default_str();
  };
  add("--nproc", live.num_processes,
      "Processes to start here; 0: those that torchrun, mpirun or srun started, as the environment says")
      ->check(CLI::Range(0, 1024));
  add("--device", live.device, "What they compute on")->check(CLI::IsMember({"cpu", "cuda"}));
  add("--backend", live.backend, "What their collectives run on")->check(CLI::IsMember({"auto", "gloo", "nccl"}));
  add("--port", live.port, "Where rank 0 listens; 0: any that is free")->check(CLI::Range(0, 65535));
  add("--repeats", live.repeats, "Timed runs of a strategy, whose median counts")->check(CLI::Range(1, 100000));
  add("--warmup", live.warmup, "Runs before them")->check(CLI::Range(0, 100000));
  command
      .add_option_function<double>(
          "--live-timeout",
          [&live](double seconds) {
            live.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
          },
          "Seconds for the workers to come together, and for each collective [60]")
      ->check(CLI::Range(0.1, 1e6))
      ->group("Live runs");
}

void JoinLaunchedRanks(Context& context) {
  LiveOptions& live = *context.live;
  if (live.num_processes > 0) return;
  live.launched = FindLaunchedRank([](const char* name) -> const char* { return std::getenv(name); });
  if (!live.launched || live.launched->rank == 0) return;
  live::BecomeWorker(live::PoolOptionsOf(live), live.launched->rank);
}

void AddLiveCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();  // shared with the callback, which outlives this function
  CLI::App* command = app.add_subcommand(
      "live", "Run a strategy on real processes: prove it right, then time it beside its prediction");
  auto* file =
      command->add_option("file", arguments->file, "A plan, or a strategy as JSON (needs the problem's options)");
  command->add_option("--strategy", arguments->strategy_file, "The same, as an option")->excludes(file);
  AddProblemOptions(*command, arguments->problem);
  AddLiveOptions(*command, context);
  command
      ->add_flag("--no-proof", arguments->no_proof,
                 "Random weights and no comparison, for models too large to be computed unsharded")
      ->group("Live runs");
  AddCommonOptions(*command, context);
  command->footer(
      "Without a strategy it takes the best of Megatron's for so many devices. Operators: the slowest rank's time;\n"
      "collectives: the time of the rank that came last, so that waiting for others is not in it.\n\n"
      "Examples:\n"
      "  shardscout live --nproc 4 -m tiny-moe -c localhost-cpu -n 4 -w decode-tiny\n"
      "  shardscout live --nproc 4 plan.json\n"
      "  mpirun -n 4 shardscout live plan.json");
  command->callback([arguments, &context] {
    context.run = [arguments, &context] {
      JoinLaunchedRanks(context);
      return Run(*arguments, context);
    };
  });
}

}  // namespace shardscout::cli
