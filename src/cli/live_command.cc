#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "env/live/worker_pool.h"
#include "shardscout/error.h"
#include "shardscout/fingerprint.h"
#include "shardscout/live_run.h"
#include "shardscout/scale_model.h"
#include "src/cli/commands.h"
#include "src/cli/describe.h"
#include "src/cli/option_table.h"
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

void PrintScaled(const std::vector<ScaledSize>& scaled) {
  for (std::size_t i = 0; i < scaled.size(); ++i) {
    std::cout << (i == 0 ? "scaled    " : ", ") << scaled[i].name << " " << Grouped(scaled[i].from) << " -> "
              << Grouped(scaled[i].to) << (i + 1 == scaled.size() ? "\n" : "");
  }
}

void Print(const Problem& problem, const std::vector<ScaledSize>& scaled, const LiveReport& report,
           const LiveOptions& options) {
  PrintProblem(std::cout, problem);
  PrintScaled(scaled);
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

ordered_json ScaledJson(const std::vector<ScaledSize>& scaled) {
  ordered_json json = ordered_json::object();
  for (const ScaledSize& size : scaled) json[size.name] = {size.from, size.to};
  return json;
}

void PrintJson(const Problem& problem, const std::vector<ScaledSize>& scaled, const LiveReport& report) {
  ordered_json json;
  json["problem"] = ProblemSummaryJson(problem);
  json["scaled"] = ScaledJson(scaled);
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
  ModelScale scale;
  bool no_proof = false;
  int fingerprint = 0;
};

Problem Scaled(const Problem& problem, const ModelScale& scale, std::vector<ScaledSize>* scaled) {
  return {ScaledModel(problem.model(), scale, scaled), problem.cluster(), problem.workload(), problem.options()};
}

/// So many strategies are measured to know the machine.
constexpr std::size_t kFitted = 5;

double Median(std::vector<double> values) { return TimingOf(std::move(values)).median_s; }

/// A strategy's step, measured and predicted.
struct Comparison {
  const LiveReport* report = nullptr;
  double predicted_s = 0;
  const Timing& measured() const { return report->phases.front().measured; }
  double Error() const { return predicted_s / measured().median_s - 1; }
};

void PrintFingerprint(const Problem& problem, const std::vector<ScaledSize>& scaled, const Fingerprint& fingerprint,
                      const std::vector<Comparison>& all, double median_error, double median_spread) {
  PrintProblem(std::cout, problem);
  PrintScaled(scaled);
  std::cout << "\nfingerprint of " << kFitted << " measured strategies, " << fingerprint.processors
            << " processors; a step is " << Number(fingerprint.step[0]) << " x its operators, "
            << Number(fingerprint.step[1]) << " x its collectives and " << Duration(fingerprint.step[2])
            << " for each of these\n";
  Table unknowns({"class", ">a call", ">a unit of work", ">a byte"});
  for (int c = 0; c < kNumTaskClasses; ++c) {
    const auto& seconds = fingerprint.seconds_per[static_cast<std::size_t>(c)];
    const bool second_is_bytes = static_cast<TaskClass>(c) == TaskClass::kOther;
    unknowns.AddRow({std::string(ToString(static_cast<TaskClass>(c))), Duration(seconds[0]),
                     second_is_bytes ? "" : Number(seconds[1] * 1e9) + " ns",
                     Number(seconds[second_is_bytes ? 1 : 2] * 1e9) + " ns"});
  }
  unknowns.Print(std::cout);
  std::cout << "\n";
  Table table({"", ">measured", ">spread", ">predicted", ">error", "strategy"});
  for (std::size_t i = 0; i < all.size(); ++i) {
    table.AddRow({i < kFitted ? "fitted" : "", Duration(all[i].measured().median_s), Spread(all[i].measured()),
                  Duration(all[i].predicted_s), Percent(all[i].Error()), ToShortString(all[i].report->strategy)});
  }
  table.Print(std::cout);
  std::cout << "predicted " << all.size() - kFitted << " strategies: median error " << Percent(median_error)
            << "; their repeats spread by " << Percent(median_spread) << " (median)\n";
}

/// Fits on a few measured strategies and predicts the others.
int RunFingerprint(const Arguments& arguments, const LiveOptions& options, const Context& context) {
  std::vector<ScaledSize> scaled;
  const Problem problem = Scaled(MakeProblem(arguments.problem), arguments.scale, &scaled);
  LiveSession session(options);
  const auto count = kFitted + static_cast<std::size_t>(arguments.fingerprint);
  const std::vector<Strategy> strategies =
      FingerprintStrategies(problem, kFitted, count, session.num_processes(), options.seed);
  if (strategies.size() < count) {
    throw SpecError("--fingerprint",
                    "the space has not " + std::to_string(count) + " strategies for so many processes");
  }
  const std::vector<LiveReport> reports = session.Run(problem, strategies);
  const int processors = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const Fingerprint fingerprint = FitFingerprint(problem, {reports.begin(), reports.begin() + kFitted}, processors);
  std::vector<Comparison> all;
  std::vector<double> errors, spreads;
  for (const LiveReport& report : reports) {
    all.push_back({&report, PredictStep(problem, report.strategy, fingerprint, report.num_processes)});
    if (all.size() <= kFitted) continue;
    errors.push_back(std::abs(all.back().Error()));
    spreads.push_back(all.back().measured().spread);
  }
  if (!context.json) {
    PrintFingerprint(problem, scaled, fingerprint, all, Median(errors), Median(spreads));
    return kExitResult;
  }
  ordered_json json{{"scaled", ScaledJson(scaled)},       {"fitted", kFitted},
                    {"median_error", Median(errors)},     {"median_spread", Median(spreads)},
                    {"step", fingerprint.step},           {"seconds_per", fingerprint.seconds_per},
                    {"strategies", ordered_json::array()}};
  for (const Comparison& one : all) {
    json["strategies"].push_back({{"strategy", ordered_json::parse(ToJson(one.report->strategy))},
                                  {"measured", TimingJson(one.measured())},
                                  {"predicted_s", one.predicted_s}});
  }
  PrintDocument(json);
  return kExitResult;
}

/// The file's strategy, or a usual one for as many devices as there are processes.
std::pair<Problem, Strategy> ReadInput(const Arguments& arguments, int num_processes, const Context& context,
                                       std::vector<ScaledSize>* scaled) {
  if (!arguments.file.empty() || !arguments.strategy_file.empty()) {
    const StrategyInput input = ReadStrategyInput(arguments, context);
    return {Scaled(input.problem, arguments.scale, scaled), input.strategy};
  }
  Problem problem = Scaled(MakeProblem(arguments.problem), arguments.scale, scaled);
  const Strategy strategy =
      DefaultLiveStrategy(problem, std::min<std::int64_t>(num_processes, problem.cluster().num_devices));
  return {std::move(problem), strategy};
}

int Run(const Arguments& arguments, Context& context) {
  LiveOptions options = *context.live;
  options.prove = !arguments.no_proof;
  if (arguments.fingerprint > 0) return RunFingerprint(arguments, options, context);
  LiveSession session(options);
  std::vector<ScaledSize> scaled;
  const auto [problem, strategy] = ReadInput(arguments, session.num_processes(), context, &scaled);
  const LiveReport report = session.Run(problem, {strategy}).front();
  context.json ? PrintJson(problem, scaled, report) : Print(problem, scaled, report, options);
  return report.Right() || !options.prove ? kExitResult : kExitBug;
}

void AddScaleOptions(CLI::App& command, ModelScale& scale) {
  const auto add = [&](const char* name, std::int64_t& value, const char* help) {
    command.add_option(name, value, help)
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40))
        ->group("Scale of the model")
        ->take_last();
  };
  add("--scale-layers", scale.num_layers, "Keep so many of its first layers [all]");
  add("--scale-width", scale.hidden_size,
      "Its hidden size, a divisor of the model's; all other widths shrink by the same factor [the model's]");
  add("--scale-experts", scale.num_experts, "Routed experts, of which a token still takes as many [the model's]");
  add("--scale-vocab", scale.vocab_size, "Vocabulary [shrinks as the widths do]");
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
      command->add_option("file", arguments->file, "A plan, or a strategy as JSON (needs the problem's options)")
          ->type_name(takes::kFile);
  command->add_option("--strategy", arguments->strategy_file, "The same, as an option")
      ->type_name(takes::kFile)
      ->excludes(file);
  AddProblemOptions(*command, arguments->problem);
  AddLiveOptions(*command, context);
  AddScaleOptions(*command, arguments->scale);
  command
      ->add_flag("--no-proof", arguments->no_proof,
                 "Random weights and no comparison, for models too large to be computed unsharded")
      ->group("Live runs");
  command
      ->add_option("--fingerprint", arguments->fingerprint,
                   "Measure 5 strategies and so many others, and predict these from those")
      ->check(CLI::Range(0, 1000))
      ->group("Live runs");
  AddCommonOptions(*command, context);
  command->footer(
      "Without a strategy it takes the best of Megatron's for so many devices. Operators: the slowest rank's time;\n"
      "collectives: the time of the rank that came last, so that waiting for others is not in it.\n\n"
      "Examples:\n"
      "  shardscout live --nproc 4 -m tiny-moe -c localhost-cpu -n 4 -w decode-tiny\n"
      "  shardscout live --nproc 4 plan.json\n"
      "  shardscout live --nproc 4 -m deepseek-v3 --scale-layers 4 --scale-width 448 --scale-experts 32 -c "
      "localhost-cpu "
      "-n 4 -w decode-tiny\n"
      "  shardscout live --nproc 4 -m tiny-moe -c localhost-cpu -n 4 -w decode-tiny --fingerprint 20\n"
      "  mpirun -n 4 shardscout live plan.json");
  command->callback([arguments, &context] {
    context.run = [arguments, &context] {
      JoinLaunchedRanks(context);
      return Run(*arguments, context);
    };
  });
}

}  // namespace shardscout::cli
