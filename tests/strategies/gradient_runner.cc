#include "tests/strategies/gradient_runner.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <set>
#include <utility>

namespace shardscout::interpret {
namespace {

constexpr double kStep = 1e-5;
constexpr double kForgotten = 7;

double& DataOf(Local& local, Eigen::Index row, Eigen::Index column) { return local.data(row, column); }
double& MetaOf(Local& local, Eigen::Index row, Eigen::Index column) { return local.meta(row, column); }

/// The tasks whose output rows depend on the input rows of other tokens.
bool MixesTokens(const Task& task) {
  return task.kind == TaskKind::kAttention || task.kind == TaskKind::kLinearAttention;
}

/// Rows of one wave are moved at the same time: what comes of each is in other rows of the output.
std::vector<std::size_t> Waves(const Task& task, const Tags& rows) {
  std::vector<std::size_t> waves(rows.size(), 0);
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const bool apart = !MixesTokens(task) && TokenOf(rows[i]) != TokenOf(rows[i - 1]);
    waves[i] = apart ? 0 : waves[i - 1] + 1;
  }
  return waves;
}

}  // namespace

double GradientRunner::RoutingMargin() const {
  double margin = std::numeric_limits<double>::infinity();
  for (const Task& task : block_.tasks) {
    if (task.kind != TaskKind::kRoute) continue;
    for (const LocalPtr& scores : runner_.HeldOf(task.input2).at) {
      for (Eigen::Index i = 0; i < scores->data.rows(); ++i) {
        RowVector choice = scores->data.row(i);
        if (runner_.layer_->router_correction.size() > 0) choice += runner_.layer_->router_correction;
        std::sort(choice.begin(), choice.end(), std::greater<>());
        const Eigen::Index k = runner_.model_.moe.num_experts_per_token;
        if (k < choice.size()) margin = std::min(margin, choice(k - 1) - choice(k));
      }
    }
  }
  return margin;
}

void GradientRunner::Run(const Held& output_gradient, const std::string& where) {
  runner_.where_ = where + ", gradient of the output";
  if (block_.output_gradient != kNoValue) runner_.Define(block_.output_gradient, output_gradient);
  for (const Task& task : block_.backward) {
    if (!task.of_gradients) Forget(task);
  }
  for (std::size_t i = 0; i < block_.backward.size(); ++i) {
    const Task& task = block_.backward[i];
    const bool collective = task.kind == TaskKind::kCollective;
    runner_.where_ = where + ", backward task " + std::to_string(i) + " (" + std::string(ToString(task.op)) + " " +
                     std::string(collective ? ToString(task.collective) : ToString(task.kind)) + ")";
    if (!task.of_gradients) {
      ComputeAgain(task);
    } else if (task.gradient != Gradient::kWeight) {  // Weights: asked.
      RunTask(task);
    }
  }
}

void GradientRunner::RunTask(const Task& task) {
  if (task.gradient == Gradient::kInput && task.kind != TaskKind::kSlice) {
    Differentiate(task);
    return;
  }
  if (task.sums_copies) {
    SumCopies(task);
  } else if (task.kind == TaskKind::kCollective) {
    runner_.RunCollective(task);
  } else if (task.gradient == Gradient::kNone) {
    runner_.RunCompute(task);
  } else {
    PadSlice(task);
  }
  MoveRouting(task);
}

/// Other numbers stand where the results were. (The routing of tokens is kept. And what does not depend on them may go
/// on: the derivative of a product by its input.)
void GradientRunner::Forget(const Task& task) {
  for (const ValueId id : {task.output, task.output2}) {
    if (id == kNoValue) continue;
    for (LocalPtr& local : runner_.held_[static_cast<std::size_t>(id)].at) {
      Local other = *local;
      other.data.setConstant(kForgotten);
      local = std::make_shared<const Local>(std::move(other));
    }
  }
}

void GradientRunner::ComputeAgain(const Task& task) {
  for (const ValueId id : {task.output, task.output2}) {
    if (id != kNoValue) runner_.held_[static_cast<std::size_t>(id)] = Held{};
  }
  for (std::size_t rank = 0; rank < static_cast<std::size_t>(runner_.layouts_.Ranks()); ++rank) {
    ForgetStates(runner_, rank);
  }
  if (task.kind == TaskKind::kCollective) {
    runner_.RunCollective(task);
  } else {
    runner_.RunCompute(task);
  }
}

/// A core of attention appends to the cache, which training does not have.
void GradientRunner::ForgetStates(BlockRunner& runner, std::size_t rank) {
  if (runner.cache_ != nullptr) (*runner.cache_)[rank].clear();
  if (runner.linear_states_ != nullptr) (*runner.linear_states_)[rank].clear();
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

Eigen::VectorXd GradientRunner::Products(BlockRunner& runner, const Task& forward, const Task& back, std::size_t rank) {
  ForgetStates(runner, rank);
  const auto outputs = runner.Compute(forward, static_cast<std::int64_t>(rank));
  const Local &first = outputs.first, &second = outputs.second;  // Clang's lambdas capture no structured bindings.
  if (forward.kind == TaskKind::kLoss) return first.data.rowwise().sum();  // The loss itself: its gradient is 1.
  Eigen::VectorXd products = Eigen::VectorXd::Zero(first.data.rows());
  const auto add = [&](ValueId gradient, const Local& output) {
    if (gradient == kNoValue) return;
    const Local& g = *runner_.HeldOf(gradient).at[rank];
    if (*g.rows != *output.rows || *g.columns != *output.columns || *g.rows != *first.rows) {
      runner_.Fail("the gradient is not laid out as its value");
    }
    const bool product = forward.kind == TaskKind::kMatmul && back.gradient == Gradient::kInput;
    for (std::size_t j = 0; j < g.columns->size(); ++j) {
      const auto column = static_cast<Eigen::Index>(j);
      const double holders = product ? Holders(forward, (*g.columns)[j], rank) : 1;
      products += g.data.col(column).cwiseProduct(output.data.col(column)) / holders;
    }
  };
  add(back.input, first);
  add(back.input2, second);
  if (forward.kind == TaskKind::kRoute) AddRoutingProducts(back, first, rank, &products);
  return products;
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

Matrix GradientRunner::ByInput(const Task& forward, const Task& back, ValueId input, std::size_t rank,
                               Eigen::Index columns, Element element) {
  LocalPtr& held = runner_.held_[static_cast<std::size_t>(input)].at[rank];
  const LocalPtr kept = held;
  const Tags& rows = *kept->rows;
  const Tags& output_rows =
      *runner_.layouts_.LocalTokens(runner_.ValueOf(forward.output), static_cast<std::int64_t>(rank));
  const std::vector<std::size_t> waves = Waves(forward, rows);
  const std::size_t num_waves = rows.empty() ? 0 : *std::max_element(waves.begin(), waves.end()) + 1;
  Matrix gradient = Matrix::Zero(std::ssize(rows), columns);
  for (std::size_t wave = 0; wave < num_waves; ++wave) {
    for (Eigen::Index j = 0; j < columns; ++j) {
      const auto moved = [&](double step) {
        Local other = *kept;
        for (std::size_t i = 0; i < rows.size(); ++i) {
          if (waves[i] == wave) element(other, static_cast<Eigen::Index>(i), j) += step;
        }
        held = std::make_shared<const Local>(std::move(other));
        return Products(runner_, forward, back, rank);
      };
      const Eigen::VectorXd difference = (moved(kStep) - moved(-kStep)) / (2 * kStep);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        if (waves[i] != wave) continue;
        double& found = gradient(static_cast<Eigen::Index>(i), j);
        if (MixesTokens(forward)) {
          found = difference.sum();
          continue;
        }
        auto at = std::lower_bound(output_rows.begin(), output_rows.end(), TokenOf(rows[i]));
        for (; at != output_rows.end() && TokenOf(*at) == TokenOf(rows[i]); ++at) {
          found += difference(at - output_rows.begin());
        }
      }
    }
  }
  held = kept;
  return gradient;
}

void GradientRunner::Differentiate(const Task& back) {
  const Task& forward = block_.tasks.at(static_cast<std::size_t>(back.gradient_of));
  for (const auto& [input, output] : {std::pair(forward.input, back.output), std::pair(forward.input2, back.output2),
                                      std::pair(forward.input3, back.output3)}) {
    if (output == kNoValue) continue;
    Held gradient{{}, runner_.ValueOf(output).partial, kPartialNone};
    for (std::size_t rank = 0; rank < static_cast<std::size_t>(runner_.layouts_.Ranks()); ++rank) {
      const LocalPtr of = runner_.HeldOf(input).at[rank];
      Local local{of->rows, of->columns, ByInput(forward, back, input, rank, of->data.cols(), &DataOf), {}};
      gradient.at.push_back(std::make_shared<const Local>(std::move(local)));
    }
    runner_.Define(output, std::move(gradient));
  }
  DifferentiateRouting(forward, back);
}

/// A collective, slice or sum of gradients: their routing goes the way of the rows.
void GradientRunner::MoveRouting(const Task& task) {
  for (const auto& [input, output] : {std::pair(task.input, task.output), std::pair(task.input2, task.output2)}) {
    const auto found = routing_.find(input);
    if (input == kNoValue || found == routing_.end()) continue;
    if (task.kind == TaskKind::kAdd) runner_.Fail("adds gradients of routed tokens");
    const std::vector<RoutingGradient>& from = found->second;
    std::vector<RoutingGradient> moved;
    for (std::int64_t rank = 0; rank < runner_.layouts_.Ranks(); ++rank) {
      std::vector<const RoutingGradient*> parts;
      for (const std::int64_t member : runner_.layouts_.Members(task.group, rank)) {
        parts.push_back(&from[static_cast<std::size_t>(member)]);
      }
      moved.push_back(Join(parts, runner_.layouts_.LocalTokens(runner_.ValueOf(output), rank)));
    }
    routing_[output] = std::move(moved);
  }
}

void GradientRunner::DifferentiateRouting(const Task& forward, const Task& back) {
  const bool product = forward.kind == TaskKind::kExpertMatmul;
  const bool down = product && runner_.ValueOf(forward.output).kind == TensorKind::kHidden;
  const bool activation = forward.kind == TaskKind::kActivation && forward.ffn == FfnKind::kExpert;
  if (!product && !activation) return;
  std::vector<RoutingGradient> found;
  for (std::size_t rank = 0; rank < static_cast<std::size_t>(runner_.layouts_.Ranks()); ++rank) {
    const Local& input = *runner_.HeldOf(forward.input).at[rank];
    if (down) {
      RoutingGradient own = RoutingGradient::Zero(input.rows, 1);
      own.data = ByInput(forward, back, forward.input, rank, 1, &MetaOf);
      own.ranks.setConstant(std::uint64_t{1} << rank);
      found.push_back(std::move(own));
    } else if (activation) {
      found.push_back(routing_.at(back.input)[rank]);
    } else {
      found.push_back(ToChoices(routing_.at(back.input)[rank], input));
    }
  }
  routing_[back.output] = std::move(found);
}

void GradientRunner::AddRoutingProducts(const Task& back, const Local& routed, std::size_t rank,
                                        Eigen::VectorXd* products) {
  const RoutingGradient& routing = routing_.at(back.input)[rank];
  if (*routing.rows != *routed.rows) runner_.Fail("the experts' weights have gradients of other rows");
  for (Eigen::Index i = 0; i < routing.ranks.size(); ++i) {
    if (std::popcount(routing.ranks(i)) != runner_.strategy_.expert_tensor_parallel_size) {
      runner_.Fail("a summand of the gradient of an expert's weight never came back");
    }
  }
  const Eigen::Index choices = routing.data.cols();
  *products += routing.data.cwiseProduct(routed.meta.rightCols(choices)).rowwise().sum();
}

double GradientRunner::WeightDerivative(const Weight& weight, BlockRunner& plus, BlockRunner& minus, double step) {
  for (BlockRunner* moved : {&plus, &minus}) {
    moved->block_ = runner_.block_;
    moved->held_ = runner_.held_;
    moved->where_ = runner_.where_;
  }
  double derivative = 0;
  for (const Task& task : block_.backward) {
    const bool up_projected = weight.kind == WeightKind::kKeyUp || weight.kind == WeightKind::kValueUp;
    const bool by_it = up_projected ? task.kind == TaskKind::kUpProject : task.weight == weight.kind;
    if (task.gradient != Gradient::kWeight || !by_it || task.ffn != weight.ffn) continue;
    const Task& forward = block_.tasks.at(static_cast<std::size_t>(task.gradient_of));
    // Of an output that several ranks have, each finds the same gradient, and one counts. (A summand is each rank's
    // own.)
    const bool own = runner_.ValueOf(forward.output).partial != kPartialNone;
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
    const bool whole = forward.weight_split == WeightSplit::kWhole && forward.kind == TaskKind::kMatmul &&
                       runner_.strategy_.tensor_parallel_size > 1;
    if (forward.kind == TaskKind::kExpertMatmul && same_over_ranks) {
      runner_.Fail("two ranks have the same row of an expert, whose gradients are summed over edp");
    }
    if (whole && weight.gradient_over_tp == same_over_ranks) {
      runner_.Fail(std::string("the gradients of ") + std::string(ToString(weight.kind)) +
                   " are summed over tp, or are not");
    }
  }
  return derivative;
}

}  // namespace shardscout::interpret
