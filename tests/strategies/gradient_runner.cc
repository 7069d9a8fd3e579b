#include "tests/strategies/gradient_runner.h"

#include <algorithm>
#include <set>

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
    if (!task.of_gradients || task.gradient == Gradient::kWeight)
      continue;  // Computed again: the same; weights: asked.
    if (task.sums_copies) {
      SumCopies(task);
    } else if (collective) {
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

void GradientRunner::SumCopies(const Task& task) {
  const Held in = runner_.HeldOf(task.input);
  Held summed{{}, in.partial, kPartialNone};
  for (std::int64_t rank = 0; rank < runner_.layouts_.Ranks(); ++rank) {
    Local local = *in.at[static_cast<std::size_t>(rank)];
    for (const std::int64_t member : runner_.layouts_.Members(task.group, rank)) {
      if (member == rank) continue;
      const Local& other = *in.at[static_cast<std::size_t>(member)];
      if (*other.rows != *local.rows) runner_.Fail("the copies are of other tokens");
      for (std::size_t j = 0; j < local.columns->size(); ++j) {
        const auto same = std::find(other.columns->begin(), other.columns->end(), (*local.columns)[j]);
        if (same == other.columns->end()) continue;
        local.data.col(static_cast<Eigen::Index>(j)) += other.data.col(same - other.columns->begin());
      }
    }
    summed.at.push_back(std::make_shared<const Local>(std::move(local)));
  }
  runner_.Define(task.output, std::move(summed));
}

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
    if (*g.rows != *output.rows || *g.columns != *output.columns)
      runner_.Fail("the gradient is not laid out as its value");
    const bool product = forward.kind == TaskKind::kMatmul && back.gradient == Gradient::kInput;
    for (std::size_t j = 0; j < g.columns->size(); ++j) {
      const auto column = static_cast<Eigen::Index>(j);
      const double holders = product ? Holders(forward, (*g.columns)[j], rank) : 1;
      sum += g.data.col(column).dot(output.data.col(column)) / holders;
    }
  };
  if (forward.kind == TaskKind::kLoss) return first.data.sum();  // The loss itself: its gradient is 1.
  add(back.input, first);
  add(back.input2, second);
  return sum;
}

double GradientRunner::Holders(const Task& product, Tag column, std::size_t rank) {
  const Value& value = runner_.ValueOf(product.output);
  if (value.features != FeatureSplit::kTensor) return 1;
  double holders = 0;
  const Group tensor{runner_.strategy_.tensor_parallel_size, 1};
  for (const std::int64_t member : runner_.layouts_.Members(tensor, static_cast<std::int64_t>(rank))) {
    const Tags& columns = *runner_.layouts_.LocalColumns(value, member);
    holders += std::binary_search(columns.begin(), columns.end(), column) ? 1 : 0;
  }
  return holders;
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
    // Of an output that several ranks have, each finds the same gradient, and one counts. (A summand of a row-parallel
    // product is each rank's own.)
    const bool own = forward.weight_split == WeightSplit::kRow;
    std::set<std::pair<Tag, Tag>> counted;
    bool same_over_ranks = false;
    for (std::size_t rank = 0; rank < static_cast<std::size_t>(runner_.layouts_.Ranks()); ++rank) {
      const auto [up, unused] = plus.Compute(forward, static_cast<std::int64_t>(rank));
      const auto [down, unused_too] = minus.Compute(forward, static_cast<std::int64_t>(rank));
      const Local& gradient = *runner_.HeldOf(task.input).at[rank];
      for (std::size_t i = 0; i < gradient.rows->size(); ++i) {
        for (std::size_t j = 0; j < gradient.columns->size(); ++j) {
          if (!own && !counted.insert({(*gradient.rows)[i], (*gradient.columns)[j]}).second) {
            same_over_ranks = true;
            continue;
          }
          const auto row = static_cast<Eigen::Index>(i), column = static_cast<Eigen::Index>(j);
          derivative += gradient.data(row, column) * (up.data(row, column) - down.data(row, column)) / (2 * step);
        }
      }
    }
    const auto stored = std::find_if(block_.weights.begin(), block_.weights.end(), [&](const Weight& weight) {
      return weight.kind == task.weight && weight.ffn == task.ffn;
    });
    const bool whole = forward.weight_split == WeightSplit::kWhole && runner_.strategy_.tensor_parallel_size > 1;
    if (whole && stored->gradient_over_tp == same_over_ranks) {
      runner_.Fail(std::string("the gradients of ") + std::string(ToString(kind)) + " are summed over tp, or are not");
    }
  }
  return derivative;
}

}  // namespace shardscout::interpret
