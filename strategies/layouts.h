#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "shardscout/program.h"

/// The definitions of program.h on who holds which rows and columns, written from its words alone.
namespace shardscout::strategies {

/// A row or column of a value by name. Rows: request, position and, in the experts' values, the expert; columns: the
/// column of the unsplit value (TensorKind's column order, which runs segment after segment).
using Tag = std::int64_t;
using Tags = std::vector<Tag>;
using TagsPtr = std::shared_ptr<const Tags>;

inline Tag RowTag(std::int64_t request, std::int64_t position, std::int64_t expert = -1) {
  return (request << 32) | (position << 12) | (expert + 1);
}
inline std::int64_t RequestOf(Tag row) { return row >> 32; }
inline std::int64_t PositionOf(Tag row) { return (row >> 12) & 0xfffff; }
inline std::int64_t ExpertOf(Tag row) { return (row & 0xfff) - 1; }
inline Tag TokenOf(Tag row) { return row & ~Tag{0xfff}; }

/// Columns of a stacked kLse: copy * kCopyStride + head.
inline constexpr Tag kCopyStride = 1 << 20;

/// A program that does not do what its values say.
class ProgramError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What one run through the blocks works on: one micro-batch of one phase.
struct Pass {
  Phase phase = Phase::kDecode;
  bool token_shard_by_request = true;
  std::int64_t input_tokens = 0;  ///< Prefill: real positions; the rest is padding.
  std::int64_t padded_input = 0;  ///< Prefill: positions computed.
  std::int64_t position = 0;      ///< Decode: of the new token.
  /// [dp][requests of the micro-batch]: the instance's numbers of the requests.
  std::vector<std::vector<std::int64_t>> requests;
};

struct Coordinates {
  std::int64_t t, c, d;     ///< tp, cp, dp
  std::int64_t it, ie, id;  ///< etp, ep, edp
};

class Layouts {
 public:
  Layouts(const ModelSpec& model, const Strategy& strategy, Pass pass);

  const Pass& pass() const { return pass_; }
  std::int64_t Ranks() const { return strategy_.StageSize(); }
  Coordinates At(std::int64_t rank) const;
  /// base + i * stride, the group of `rank`, in member order.
  std::vector<std::int64_t> Members(const Group& group, std::int64_t rank) const;
  /// The ranks over which a value with these PartialOver bits is to be added up, as a bit mask, `rank` included.
  std::uint64_t Summands(std::uint8_t partial, std::int64_t rank) const;
  /// The group's ranks as a bit mask.
  std::uint64_t MemberMask(const Group& group, std::int64_t rank) const;

  /// Rows of a value on a rank, rising. Equal lists of one layout are one object. Routed layouts need SetRoutes.
  TagsPtr LocalTokens(const Value& value, std::int64_t rank);
  /// Columns of a value on a rank, rising.
  TagsPtr LocalColumns(const Value& value, std::int64_t rank);

  /// Experts of every token of the stage, known from the router's tasks.
  void SetRoutes(std::map<Tag, std::vector<std::int64_t>> routes);
  /// Experts that a rank holds: [first, first + count).
  std::int64_t FirstExpert(std::int64_t rank) const;
  std::int64_t NumLocalExperts() const;

  /// Whether a rank keeps, under `plan`, a request of its dp rank (index in the micro-batch) and a position.
  bool OwnsRequest(const CachePlan& plan, std::int64_t rank, std::int64_t index) const;
  bool OwnsPosition(const CachePlan& plan, std::int64_t rank, std::int64_t position) const;

 private:
  std::int64_t Requests() const { return static_cast<std::int64_t>(pass_.requests.front().size()); }
  bool HasTensorShare() const;
  std::int64_t DecodeContextRank(std::int64_t index) const;
  void AppendCell(std::int64_t c, std::int64_t d, Tags* out) const;
  void AppendShare(std::int64_t rank, Tags* out) const;
  void AppendUnion(std::uint64_t ranks, Tags* out) const;
  Tags ComputeTokens(const Value& value, std::int64_t rank) const;
  Tags ComputeColumns(const Value& value, std::int64_t rank) const;
  TagsPtr Intern(Tags tags);

  const ModelSpec& model_;
  const Strategy& strategy_;
  Pass pass_;
  std::map<Tag, std::vector<std::int64_t>> routes_;
  using RowKey = std::tuple<int, bool, bool, bool, bool, std::int64_t>;
  using ColumnKey = std::tuple<int, int, int, std::int64_t, bool, std::int64_t>;
  std::map<RowKey, TagsPtr> rows_;
  std::map<ColumnKey, TagsPtr> columns_;
  std::vector<TagsPtr> interned_;
};

}  // namespace shardscout::strategies
