#include "env/simulator/training_simulation.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "env/analytical/training_cost.h"
#include "shardscout/error.h"

namespace shardscout::env {
namespace {

constexpr SimTaskId kNotYet = -1;

struct Step {
  PipelineTask::Kind kind = PipelineTask::Kind::kForward;
  std::int64_t chunk = 0, microbatch = 0;
};

/// The order in which stage `stage` of `pp` runs its passes.
std::vector<Step> OrderOf(std::int64_t stage, std::int64_t pp, const PipelineShape& shape) {
  const std::int64_t v = shape.chunks, m = shape.microbatches, all = m * v;
  const bool zero_bubble = shape.schedule == PipelineSchedule::kZeroBubble;
  const auto step = [&](PipelineTask::Kind kind, std::int64_t k) -> Step {
    if (v == 1) return {kind, 0, k};
    const std::int64_t chunk = k % (pp * v) / pp;
    return {kind, kind == PipelineTask::Kind::kForward ? chunk : v - 1 - chunk, k / (pp * v) * pp + k % pp};
  };
  const std::int64_t behind = pp - 1 - stage;
  const std::int64_t first = std::min(all, v == 1 ? behind : 2 * behind + (v - 1) * pp);
  std::vector<Step> order;
  for (std::int64_t k = 0; k < first; ++k) order.push_back(step(PipelineTask::Kind::kForward, k));
  std::int64_t weights = 0;
  for (std::int64_t k = 0; k < all; ++k) {
    const bool steady = first + k < all;
    if (steady) order.push_back(step(PipelineTask::Kind::kForward, first + k));
    order.push_back(step(PipelineTask::Kind::kBackward, k));
    // Stage i holds on to i gradients by weights, which its idle time at the end takes.
    if (zero_bubble && (k >= stage || !steady)) order.push_back(step(PipelineTask::Kind::kWeights, weights++));
  }
  for (; zero_bubble && weights < all; ++weights) order.push_back(step(PipelineTask::Kind::kWeights, weights));
  return order;
}

/// Adds each stage's passes in its order, as soon as what they need has been added.
class PipelineMaker {
 public:
  PipelineMaker(const std::vector<ChunkTimes>& times, const PipelineShape& shape)
      : times_(times), shape_(shape), pp_(static_cast<std::int64_t>(times.size()) / shape.chunks) {
    for (auto& added : arrived_) added.assign(times.size() * Size(shape.microbatches), kNotYet);
  }

  PipelinePass Make() {
    std::vector<std::vector<Step>> orders;
    for (std::int64_t stage = 0; stage < pp_; ++stage) {
      for (StreamId i = 0; i < kStreamsOfATrainingStage; ++i) pass_.graph.AddStream();
      orders.push_back(OrderOf(stage, pp_, shape_));
    }
    std::vector<std::size_t> next(orders.size(), 0);
    for (bool progress = true; progress;) {
      progress = false;
      for (std::int64_t stage = 0; stage < pp_; ++stage) {
        std::size_t& at = next[Size(stage)];
        while (at < orders[Size(stage)].size() && Add(stage, orders[Size(stage)][at])) {
          ++at;
          progress = true;
        }
      }
    }
    for (std::size_t stage = 0; stage < orders.size(); ++stage) {
      SHARDSCOUT_CHECK_OP(next[stage], ==, orders[stage].size());
    }
    Finish();
    return std::move(pass_);
  }

 private:
  enum Stream : std::uint8_t { kKernels, kSends, kExchanges };
  static std::int64_t StreamOf(std::int64_t stage, Stream stream) { return stage * kStreamsOfATrainingStage + stream; }

  /// Exchanges that wait for all backwards, and the update that waits for all exchanges.
  void Finish() {
    if (!shape_.exchanges_overlap) {
      for (const auto& [task, after] : exchanges_) Exchange(task, after, 1);
    }
    for (std::int64_t stage = 0; stage < pp_; ++stage) {
      for (std::int64_t chunk = 0; chunk < shape_.chunks; ++chunk) {
        const double update_s = times_[Size(stage * shape_.chunks + chunk)].update_s;
        if (update_s <= 0) continue;
        Push(StreamOf(stage, kKernels), update_s, last_,
             {static_cast<std::int32_t>(stage), static_cast<std::int32_t>(chunk), 0, PipelineTask::Kind::kUpdate});
      }
    }
  }

  void Exchange(PipelineTask task, SimTaskId after, std::int64_t parts) {
    const double exchange_s = times_[Size(task.stage * shape_.chunks + task.chunk)].exchange_s;
    task.kind = PipelineTask::Kind::kExchange;
    const std::array<SimTaskId, 1> gradients = {after};
    last_.push_back(after);
    if (exchange_s <= 0) return;
    last_.push_back(Push(StreamOf(task.stage, kExchanges), exchange_s / static_cast<double>(parts), gradients, task));
  }

  enum Direction : std::uint8_t { kForwards, kBackwards };
  static std::size_t Size(std::int64_t n) { return static_cast<std::size_t>(n); }

  /// Where what the pass needs comes in: after which task.
  SimTaskId& Arrived(Direction direction, std::int64_t place, std::int64_t microbatch) {
    return arrived_[direction][Size(place * shape_.microbatches + microbatch)];
  }
  /// Chunks in the order of the model's layers.
  std::int64_t Place(std::int64_t stage, std::int64_t chunk) const { return chunk * pp_ + stage; }

  SimTaskId Push(std::int64_t stream, double duration_s, std::span<const SimTaskId> after, PipelineTask task) {
    pass_.tasks.push_back(task);
    return pass_.graph.AddTask(static_cast<StreamId>(stream), ToPicoseconds(duration_s), after);
  }

  bool Add(std::int64_t stage, const Step& step) {
    const std::int64_t place = Place(stage, step.chunk), last = pp_ * shape_.chunks - 1;
    const ChunkTimes& times = times_[Size(stage * shape_.chunks + step.chunk)];
    PipelineTask task{static_cast<std::int32_t>(stage), static_cast<std::int32_t>(step.chunk),
                      static_cast<std::int32_t>(step.microbatch), step.kind};
    if (step.kind == PipelineTask::Kind::kWeights) {
      // Its stage's order puts it after its backward.
      const SimTaskId done = Push(StreamOf(stage, kKernels), times.weights_s, {}, task);
      if (step.microbatch == shape_.microbatches - 1) Exchange(task, done, 1);
      return true;
    }
    const bool forward = step.kind == PipelineTask::Kind::kForward;
    const Direction direction = forward ? kForwards : kBackwards;
    const SimTaskId needed = Arrived(direction, place, step.microbatch);
    const bool at_source = forward ? place == 0 : place == last;
    if (!at_source && needed == kNotYet) return false;
    // The last chunk's backward follows its own forward, which its stage has run before.
    const std::array<SimTaskId, 1> after = {needed};
    const bool split = shape_.schedule == PipelineSchedule::kZeroBubble;
    const double seconds = forward ? times.forward_s : times.backward_s - (split ? times.weights_s : 0);
    const std::span<const SimTaskId> needs = at_source ? std::span<const SimTaskId>() : after;
    const bool last_backward = !forward && !split && step.microbatch == shape_.microbatches - 1;
    const std::int64_t parts = last_backward && shape_.exchanges_overlap ? times.parts : 1;
    SimTaskId done = 0;
    for (std::int64_t part = 0; part < parts; ++part) {
      done = Push(StreamOf(stage, kKernels), seconds / static_cast<double>(parts), needs, task);
      if (!last_backward) continue;
      if (shape_.exchanges_overlap) {
        Exchange(task, done, parts);
      } else {
        exchanges_.push_back({task, done});
      }
    }
    if (forward ? place == last : place == 0) return true;
    const std::array<SimTaskId, 1> sent = {done};
    task.kind = PipelineTask::Kind::kSend;
    done = Push(StreamOf(stage, shape_.sends_wait ? kKernels : kSends), times.send_s, sent, task);
    Arrived(direction, forward ? place + 1 : place - 1, step.microbatch) = done;
    return true;
  }

  const std::vector<ChunkTimes>& times_;
  const PipelineShape& shape_;
  const std::int64_t pp_;
  PipelinePass pass_;
  std::array<std::vector<SimTaskId>, 2> arrived_;
  std::vector<std::pair<PipelineTask, SimTaskId>> exchanges_;  ///< That wait, each after the task.
  std::vector<SimTaskId> last_;                                ///< What the update waits for.
};

}  // namespace

PipelinePass MakePipeline(const std::vector<ChunkTimes>& times, const PipelineShape& shape) {
  return PipelineMaker(times, shape).Make();
}

PipelinePass MakeTrainingPass(const Problem& problem, const Strategy& s, bool reference, PipelineSchedule schedule) {
  const std::int64_t v = s.virtual_pipeline_parallel_size;
  const auto chunks = static_cast<double>(v);
  const PipelineShape shape{.microbatches = s.num_microbatches,
                            .chunks = v,
                            .schedule = schedule,
                            .sends_wait = reference,
                            .exchanges_overlap = problem.workload().training->overlap_gradients};
  std::vector<ChunkTimes> times;
  for (const TrainingStage& stage : TrainingStagesOf(problem, s)) {
    for (std::int64_t chunk = 0; chunk < v; ++chunk) {
      times.push_back({.forward_s = stage.forward_s / chunks,
                       .backward_s = stage.backward_s / chunks,
                       .weights_s = stage.backward_s / chunks / 2,
                       .send_s = stage.send_s,
                       .exchange_s = stage.gradients_s / chunks,
                       .update_s = (stage.parameters_s + stage.optimizer_s) / chunks,
                       .parts = std::max<std::int64_t>(1, static_cast<std::int64_t>(stage.layers) / v)});
    }
  }
  return MakePipeline(times, shape);
}

}  // namespace shardscout::env
