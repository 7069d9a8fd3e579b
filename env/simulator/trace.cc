#include "shardscout/trace.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "env/analytical/analytical_evaluator.h"
#include "env/simulator/pass_simulation.h"
#include "env/simulator/serving_simulation.h"

namespace shardscout {
namespace {

using env::Pass;
using env::PassTask;
using env::Schedule;
using env::SimTaskId;
using nlohmann::ordered_json;

constexpr double kMicrosecond = 1e6;  // Picoseconds.

double Microseconds(env::Picoseconds time) { return static_cast<double>(time) / kMicrosecond; }

std::string NameOf(const PassTask& task) {
  const Task& what = *task.task;
  std::string name(ToString(what.op));
  name += ' ';
  name += what.kind == TaskKind::kCollective ? ToString(what.collective) : ToString(what.kind);
  if (what.ffn == FfnKind::kShared) name += " (shared expert)";
  return name;
}

ordered_json ArgumentsOf(const PassTask& task, bool halved) {
  ordered_json arguments = {{"block", ToString(task.block)}};
  if (task.layer >= 0) arguments["layer"] = task.layer;
  arguments["micro-batch"] = task.microbatch;
  if (halved) arguments["half"] = task.half;
  if (task.phase == Phase::kDecode) arguments["token"] = task.round;
  if (task.task->kind == TaskKind::kCollective) {
    arguments["ranks"] = task.task->group.size;
    arguments["payload_bytes"] = task.task->payload_bytes;
  } else {
    arguments["flop"] = task.task->work.flop;
    arguments["bytes"] = task.task->work.Bytes();
  }
  return arguments;
}

/// Events of one phase; its processes begin at `first_process`.
void AppendPhase(const env::PassMaker& maker, const Pass& pass, Phase phase, int first_process, ordered_json& events) {
  const Schedule schedule = env::Simulate(pass.graph);
  for (int stage = 0; env::kStreamsOfAStage * stage < pass.graph.num_streams(); ++stage) {
    const int process = first_process + stage;
    const std::string name = std::string(ToString(phase)) + ", stage " + std::to_string(stage);
    events.push_back({{"name", "process_name"}, {"ph", "M"}, {"pid", process}, {"args", {{"name", name}}}});
    for (const auto& [track, label] :
         {std::pair(env::StageStream::kKernels, "kernels"), std::pair(env::StageStream::kCollectives, "collectives"),
          std::pair(env::StageStream::kSends, "sends")}) {
      events.push_back({{"name", "thread_name"},
                        {"ph", "M"},
                        {"pid", process},
                        {"tid", static_cast<int>(track)},
                        {"args", {{"name", label}}}});
    }
  }
  for (SimTaskId t = 0; t < pass.graph.num_tasks(); ++t) {
    const auto i = static_cast<std::size_t>(t);
    const PassTask& task = pass.tasks[i];
    if (task.task == nullptr) continue;  // Where halves meet.
    const auto place = [&](ordered_json event, SimTaskId at, env::Picoseconds time) {
      event["pid"] = first_process + pass.graph.StreamOf(at) / env::kStreamsOfAStage;
      event["tid"] = static_cast<int>(env::StreamKind(pass.graph.StreamOf(at)));
      event["ts"] = Microseconds(time);
      return event;
    };
    ordered_json event =
        place({{"name", NameOf(task)}, {"cat", ToString(task.block)}, {"ph", "X"}}, t, schedule.begin[i]);
    event["dur"] = Microseconds(schedule.end[i] - schedule.begin[i]);
    event["args"] = ArgumentsOf(task, maker.Halved());
    events.push_back(std::move(event));
    // A flow ends where the first task that waits for the send begins; the last token's have none.
    for (const SimTaskId before : pass.graph.AfterOf(t)) {
      const PassTask& sent = pass.tasks[static_cast<std::size_t>(before)];
      if (sent.block != BlockKind::kTransfer || sent.task == nullptr || task.half != 0) continue;
      const ordered_json flow = {{"name", NameOf(sent)}, {"cat", "transfer"}, {"id", first_process * 1000000 + before}};
      ordered_json begin = flow, end = flow;
      begin["ph"] = "s";
      end["ph"] = "f";
      end["bp"] = "e";
      events.push_back(place(std::move(begin), before, schedule.begin[static_cast<std::size_t>(before)]));
      events.push_back(place(std::move(end), t, schedule.begin[i]));
    }
  }
}

/// Requests that wait and run, and the blocks of the cache that they hold, as counters.
void AppendRequests(const Problem& problem, const Strategy& strategy, int process, ordered_json& events) {
  env::LengthVariants variants(problem);
  const Evaluation closed_form = env::AnalyticalEvaluator(problem).Evaluate(strategy);
  const env::ServingRun serving = env::RunRequests(problem, strategy, {}, variants, closed_form);
  events.push_back({{"name", "process_name"}, {"ph", "M"}, {"pid", process}, {"args", {{"name", "requests"}}}});
  for (const env::QueueSample& sample : serving.run.queue) {
    const auto count = [&](const char* name, ordered_json arguments) {
      events.push_back({{"name", name},
                        {"ph", "C"},
                        {"pid", process},
                        {"ts", Microseconds(sample.time)},
                        {"args", std::move(arguments)}});
    };
    count("requests", {{"waiting", sample.waiting}, {"running", sample.running}});
    count("KV cache", {{"blocks", sample.used_blocks}});
  }
}

}  // namespace

std::string SimulatedTrace(const Problem& problem, const Strategy& strategy) {
  ordered_json events = ordered_json::array();
  int process = 0;
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    if (!problem.workload().HasPhase(phase)) continue;
    const env::PassMaker maker(problem, strategy, phase, {});
    const bool one = phase == Phase::kPrefill && problem.workload().kind == WorkloadKind::kServe;
    const std::int64_t tokens = phase == Phase::kDecode && strategy.pipeline_parallel_size > 1 ? env::kDecodeRounds : 1;
    AppendPhase(maker, maker.Make(one ? 1 : strategy.num_microbatches, tokens, true), phase, process, events);
    process += static_cast<int>(strategy.pipeline_parallel_size);
  }
  if (problem.workload().requests) AppendRequests(problem, strategy, process, events);
  return ordered_json{{"displayTimeUnit", "ns"}, {"traceEvents", std::move(events)}}.dump() + "\n";
}

}  // namespace shardscout
