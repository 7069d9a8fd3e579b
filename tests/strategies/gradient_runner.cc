#include "tests/strategies/gradient_runner.h"

#include <algorithm>

namespace shardscout::interpret {
namespace {

constexpr double kStep = 1e-5;

}  // namespace

void GradientRunner::Run(const Held& output_gradient, const std::string& where) {
  runner_.where_ = where + ", gradient of the output";
  if (block_.output_gradient != kNoValue) runner_.Define(block_.output_gradient, output_gradient);
  for (std::size_t i = 0; i < block_.backward.size(); ++i) {
    const Task& task = block_.backward[i];
    const bool collective = task.kind == TaskKind::kCollective;
    runner_.where_ = where + ", backward task " + std::to_string(i) + " (" + std::string(ToString(task.op)) + " " +
                     std::string(collective ? ToString(task.collective) : ToString(task.kind)) + ")";
    if (!task.of_gradients || task.gradient == Gradient::kWeight) continue;  // Computed again: the same; weights: asked.
    if (collective) {
      runner_.RunCollective(task);
    } else if (task.gradient == Gradient::kNone) {
      runner_.RunCompute(task);
    } else if (task.kind == TaskKind::kSlice) {
      PadSlice(task);
    } else {
      Differentiate(task);
    }
  }
}

const Held& GradientRunner::InputGradient() const { return runner_.HeldOf(block_.input_gradient); }

void GradientRunner::PadSlice(const Task& task) {
  const Value& value = runner_.ValueOf(task.output);
  Held padded{{}, value.partial, kPartialNone};
  for (std::int64_t rank = 0; rank < runner_.layouts_.Ranks(); ++rank) {
    const Local& part = *runner_.HeldOf(task.input).at[static_cast<std::size_t>(rank)];
    Local whole{runner_.layouts_.LocalTokens(value, rank), runner_.layouts_.LocalColumns(value, rank), {}, {}};
    whole.data = Matrix::Zero(std::ssize(*whole.rows), std::ssize(*whole.columns));
    const auto place = [](const Tags& tags, Tag tag) {
      return std::find(tags.begin(), tags.end(), tag) - tags.begin();
    };
    for (std::size_t i = 0; i < part.rows->size(); ++i) {
      for (std::size_t j = 0; j < part.columns->size(); ++j) {
        whole.data(place(*whole.rows, (*part.rows)[i]), place(*whole.columns, (*part.columns)[j])) =
            part.data(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j));
      }
    }
    padded.at.push_back(std::make_shared<const Local>(std::move(whole)));
  }
  runner_.Define(task.output, std::move(padded));
}

double GradientRunner::Product(BlockRunner& runner, const Task& forward, const Task& back, std::size_t rank) {
  // A core of attention appends to the cache, which training does not have.
  if (runner.cache_ != nullptr) (*runner.cache_)[rank].clear();
  const auto [first, second] = runner.Compute(forward, static_cast<std::int64_t>(rank));
  double sum = 0;
  const auto add = [&](ValueId gradient, const Local& output) {
    if (gradient == kNoValue) return;
    const Local& g = *runner_.HeldOf(gradient).at[rank];
    if (*g.rows != *output.rows || *g.columns != *output.columns) runner_.Fail("the gradient is not laid out as its value");
    sum += g.data.cwiseProduct(output.data).sum();
  };
  if (forward.kind == TaskKind::kLoss) return first.data.sum();  // The loss itself: its gradient is 1.
  add(back.input, first);
  add(back.input2, second);
  return sum;
}

LocalPtr GradientRunner::ByInput(const Task& forward, const Task& back, ValueId input, std::size_t rank) {
  LocalPtr& held = runner_.held_[static_cast<std::size_t>(input)].at[rank];
  const LocalPtr kept = held;
  Local gradient = *kept;
  gradient.meta = {};
  for (Eigen::Index i = 0; i < kept->data.rows(); ++i) {
    for (Eigen::Index j = 0; j < kept->data.cols(); ++j) {
      const auto moved = [&](double step) {
        Local other = *kept;
        other.data(i, j) += step;
        held = std::make_shared<const Local>(std::move(other));
        return Product(runner_, forward, back, rank);
      };
      gradient.data(i, j) = (moved(kStep) - moved(-kStep)) / (2 * kStep);
    }
  }
  held = kept;
  return std::make_shared<const Local>(std::move(gradient));
}

void GradientRunner::Differentiate(const Task& back) {
  const Task& forward = block_.tasks.at(static_cast<std::size_t>(back.gradient_of));
  for (const auto& [input, output] : {std::pair(forward.input, back.output), std::pair(forward.input2, back.output2),
                                      std::pair(forward.input3, back.output3)}) {
    if (output == kNoValue) continue;
    Held gradient{{}, runner_.ValueOf(output).partial, kPartialNone};
    for (std::size_t rank = 0; rank < static_cast<std::size_t>(runner_.layouts_.Ranks()); ++rank) {
      gradient.at.push_back(ByInput(forward, back, input, rank));
    }
    runner_.Define(output, std::move(gradient));
  }
}

double GradientRunner::WeightDerivative(WeightKind kind, BlockRunner& plus, BlockRunner& minus, double step) {
  for (BlockRunner* moved : {&plus, &minus}) {
    moved->block_ = runner_.block_;
    moved->held_ = runner_.held_;
    moved->where_ = runner_.where_;
  }
  double derivative = 0;
  for (const Task& task : block_.backward) {
    if (task.gradient != Gradient::kWeight || task.weight != kind) continue;
    const Task& forward = block_.tasks.at(static_cast<std::size_t>(task.gradient_of));
    double copies = 1;  // Ranks that find the same gradient, of which one counts.
    if (forward.weight_split == WeightSplit::kWhole) {
      const auto stored = std::find_if(block_.weights.begin(), block_.weights.end(), [&](const Weight& weight) {
        return weight.kind == task.weight && weight.ffn == task.ffn;
      });
      if (!stored->gradient_over_tp) copies = static_cast<double>(runner_.strategy_.tensor_parallel_size);
    }
    for (std::size_t rank = 0; rank < static_cast<std::size_t>(runner_.layouts_.Ranks()); ++rank) {
      const double difference = Product(plus, forward, task, rank) - Product(minus, forward, task, rank);
      derivative += difference / (2 * step) / copies;
    }
  }
  return derivative;
}

}  // namespace shardscout::interpret
