#pragma once

// What a deployment's file says, whatever its form: flags of a command or keys of a YAML map are both names with texts.

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace YAML {
class Node;
}

namespace shardscout::importers {

/// Words as a shell splits them: quotes, backslashes (also before the end of a line), comments from # on. SpecError at
/// `place` for a quote that is not closed.
std::vector<std::string> SplitWords(std::string_view text, std::string_view place);

/// Names are spelled with '-' whatever the file has ('_' means the same to these frameworks). Values of nested maps are
/// under "outer.inner".
class Settings {
 public:
  explicit Settings(std::string place) : place_(std::move(place)) {}

  const std::string& place() const { return place_; }
  /// Later ones replace earlier ones, as on a command line.
  void Set(std::string_view name, std::string value);
  bool Has(std::string_view name) const;

  // The first of the names that is there; SpecError at "place name" for a text that is no such value.
  std::optional<std::string> Text(std::initializer_list<std::string_view> names);
  /// A whole number from 1 to 2^31.
  std::optional<std::int64_t> Size(std::initializer_list<std::string_view> names);
  /// A parallel size or a number of instances, at most 32768; 1 where there is none.
  std::int64_t SizeOr1(std::initializer_list<std::string_view> names);
  /// Above 0, at most 1.
  std::optional<double> Fraction(std::initializer_list<std::string_view> names);
  bool Flag(std::initializer_list<std::string_view> names);
  /// "27,27,26"
  std::vector<std::int64_t> Sizes(std::initializer_list<std::string_view> names);
  /// Known, and of no consequence here.
  void Ignore(std::initializer_list<std::string_view> names);

  /// Names that nobody asked for.
  std::vector<std::string> Unused() const;

 private:
  std::string place_;
  std::map<std::string, std::string> values_;
  std::set<std::string> used_;
};

/// A YAML map; lists of numbers or words become "a,b,c", maps in a list "outer.0.inner", and a text that is itself a
/// JSON object its members.
Settings SettingsOfYaml(const YAML::Node& map, const std::string& place);

struct Command {
  std::vector<std::string> program;  ///< The words before the first flag: "vllm serve MODEL".
  Settings settings;                 ///< Flags; "env.NAME" what is set before the program.
};
/// Flags are added to `settings`, and replace those of the same name.
Command CommandOfWords(std::span<const std::string> words, Settings settings);

}  // namespace shardscout::importers
