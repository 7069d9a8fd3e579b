// A batch of decoding requests against the same ones kept one by one.

#include "env/simulator/decode_batch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "shardscout/random.h"

namespace shardscout::env {
namespace {

/// One by one: a request takes a block when its next token has no room.
class OneByOne {
 public:
  explicit OneByOne(std::int64_t block_tokens) : block_tokens_(block_tokens) {}

  void Add(RequestId id, std::int64_t cached, std::int64_t blocks, std::int64_t tokens_left) {
    requests_[id] = {cached, blocks, tokens_left};
  }
  std::int64_t size() const { return static_cast<std::int64_t>(requests_.size()); }
  std::int64_t positions() const {
    std::int64_t sum = 0;
    for (const auto& [id, request] : requests_) sum += request.cached;
    return sum;
  }
  std::int64_t BlocksNeeded() const {
    return std::count_if(requests_.begin(), requests_.end(), [&](const auto& entry) { return Needs(entry.second); });
  }
  std::vector<RequestId> EndStep() {
    std::vector<RequestId> last;
    for (auto& [id, request] : requests_) {
      request.blocks += Needs(request) ? 1 : 0;
      ++request.cached;
      if (--request.tokens_left == 0) last.push_back(id);
    }
    for (const RequestId id : last) requests_.erase(id);
    return last;
  }

 private:
  struct Held {
    std::int64_t cached = 0, blocks = 0, tokens_left = 0;
  };
  bool Needs(const Held& request) const { return request.cached == request.blocks * block_tokens_; }

  std::int64_t block_tokens_;
  std::map<RequestId, Held> requests_;
};

std::int64_t Below(Rng& random, std::size_t n) { return static_cast<std::int64_t>(random.Below(n)); }

TEST(DecodeBatch, IsAsOneByOne) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Rng random(seed);
    const std::int64_t block_tokens = 1 + Below(random, 5);
    DecodeBatch batch(block_tokens);
    OneByOne reference(block_tokens);
    RequestId next = 0;
    for (int step = 0; step < 60; ++step) {
      for (std::int64_t added = Below(random, 3); added > 0; --added) {
        const std::int64_t cached = 1 + Below(random, 12), tokens_left = 1 + Below(random, 12);
        // Just what its tokens fill, the next one's block too, or room for all.
        const std::int64_t all = random.Below(3) == 0 ? tokens_left : Below(random, 2);
        const std::int64_t blocks = (cached + all + block_tokens - 1) / block_tokens;
        batch.Add(next, cached, blocks, tokens_left);
        reference.Add(next++, cached, blocks, tokens_left);
      }
      ASSERT_EQ(batch.size(), reference.size()) << "seed " << seed << ", step " << step;
      ASSERT_EQ(batch.positions(), reference.positions()) << "seed " << seed << ", step " << step;
      ASSERT_EQ(batch.BlocksNeeded(), reference.BlocksNeeded()) << "seed " << seed << ", step " << step;
      std::vector<RequestId> last;
      batch.EndStep(last);
      ASSERT_EQ(last, reference.EndStep()) << "seed " << seed << ", step " << step;
      if (random.Below(30) == 0) {
        batch.Clear();
        reference = OneByOne(block_tokens);
      }
    }
  }
}

}  // namespace
}  // namespace shardscout::env
