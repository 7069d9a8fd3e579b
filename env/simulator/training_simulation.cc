#include "env/simulator/training_simulation.h"

#include <algorithm>
#include <array>

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
    pass_.last_backward.assign(times.size(), kNotYet);
  }

  PipelinePass Make() {
    std::vector<std::vector<Step>> orders;
    for (std::int64_t stage = 0; stage < pp_; ++stage) {
      pass_.graph.AddStream();
      pass_.graph.AddStream();
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
    return std::move(pass_);
  }

 private:
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
      Push(2 * stage, times.weights_s, {}, task);  // Its stage's order puts it after its backward.
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
    SimTaskId done = Push(2 * stage, seconds, at_source ? std::span<const SimTaskId>() : after, task);
    if (!forward && step.microbatch == shape_.microbatches - 1) {
      pass_.last_backward[Size(stage * shape_.chunks + step.chunk)] = done;
    }
    if (forward ? place == last : place == 0) return true;
    const std::array<SimTaskId, 1> sent = {done};
    task.kind = PipelineTask::Kind::kSend;
    done = Push(2 * stage + (shape_.sends_wait ? 0 : 1), times.send_s, sent, task);
    Arrived(direction, forward ? place + 1 : place - 1, step.microbatch) = done;
    return true;
  }

  const std::vector<ChunkTimes>& times_;
  const PipelineShape& shape_;
  const std::int64_t pp_;
  PipelinePass pass_;
  std::array<std::vector<SimTaskId>, 2> arrived_;
};

}  // namespace

PipelinePass MakePipeline(const std::vector<ChunkTimes>& times, const PipelineShape& shape) {
  return PipelineMaker(times, shape).Make();
}

}  // namespace shardscout::env
