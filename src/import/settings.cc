#include "src/import/settings.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "shardscout/error.h"

namespace shardscout::importers {
namespace {

/// Beyond any deployment; aliases of YAML can ask for more than fits in memory.
constexpr int kMostSettings = 20000;
constexpr int kDeepest = 32;
constexpr std::int64_t kMostRanks = 32768;  ///< The product of four of them is a number still.
constexpr std::int64_t kMost = std::int64_t{1} << 31;

std::string Spelled(std::string_view name) {
  std::string spelled(name);
  std::replace(spelled.begin(), spelled.end(), '_', '-');
  return spelled;
}

std::int64_t ParseSize(std::string_view text, const std::string& place) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= 1 && value <= kMost) return value;
  throw SpecError(place, "found \"" + std::string(text) + "\", expected a whole number from 1 on");
}

bool IsFlag(const std::string& word) {
  const std::size_t dashes = std::min(word.find_first_not_of('-'), word.size());
  if (dashes == 0 || dashes == word.size()) return false;
  return dashes > 1 || std::isalpha(static_cast<unsigned char>(word[1])) != 0;
}

bool IsAssignment(const std::string& word) {
  const std::size_t equals = word.find('=');
  return equals != std::string::npos && equals > 0 &&
         std::all_of(word.begin(), word.begin() + static_cast<std::ptrdiff_t>(equals),
                     [](unsigned char c) { return std::isupper(c) != 0 || std::isdigit(c) != 0 || c == '_'; });
}

class Flattener {
 public:
  explicit Flattener(Settings& settings) : settings_(settings) {}

  void Add(const std::string& name, const YAML::Node& node, int depth) {
    if (++count_ > kMostSettings || depth > kDeepest) throw SpecError(settings_.place(), "has too many settings");
    if (node.IsMap()) {
      for (const auto& entry : node) {
        const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
        Add(name.empty() ? key : name + "." + key, entry.second, depth + 1);
      }
    } else if (node.IsSequence()) {
      std::string joined;
      std::size_t index = 0;
      for (const auto& item : node) {
        if (++count_ > kMostSettings) throw SpecError(settings_.place(), "has too many settings");
        if (item.IsScalar()) joined += (joined.empty() ? "" : ",") + item.Scalar();
        if (item.IsMap()) Add(name + "." + std::to_string(index), item, depth + 1);
        ++index;
      }
      settings_.Set(name, joined);
    } else if (node.IsScalar()) {
      AddText(name, node.Scalar(), depth);
    }
  }

  void AddText(const std::string& name, const std::string& text, int depth) {
    if (text.starts_with("{")) {
      try {
        const YAML::Node inner = YAML::Load(text);
        if (inner.IsMap()) {
          Add(name, inner, depth + 1);
          return;
        }
      } catch (const YAML::Exception&) {  // Then it is a text like any other.
      }
    }
    settings_.Set(name, text);
  }

 private:
  Settings& settings_;
  int count_ = 0;
};

}  // namespace

std::vector<std::string> SplitWords(std::string_view text, std::string_view place) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != 0) {
      if (c == quote) {
        quote = 0;
      } else if (c == '\\' && quote == '"' && i + 1 < text.size()) {
        word += text[++i];
      } else {
        word += c;
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
      in_word = true;
    } else if (c == '\\' && i + 1 < text.size()) {
      ++i;
      if (text[i] == '\r' && i + 1 < text.size()) ++i;
      if (text[i] != '\n') {
        word += text[i];
        in_word = true;
      }
    } else if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      if (in_word) words.push_back(std::exchange(word, ""));
      in_word = false;
    } else if (c == '#' && !in_word) {
      while (i + 1 < text.size() && text[i + 1] != '\n') ++i;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (quote != 0) throw SpecError(place, "a quote is not closed");
  if (in_word) words.push_back(word);
  return words;
}

void Settings::Set(std::string_view name, std::string value) { values_[Spelled(name)] = std::move(value); }

bool Settings::Has(std::string_view name) const { return values_.contains(std::string(name)); }

std::optional<std::string> Settings::Text(std::initializer_list<std::string_view> names) {
  std::optional<std::string> text;
  for (const std::string_view name : names) {
    const auto found = values_.find(std::string(name));
    if (found == values_.end()) continue;
    used_.insert(found->first);
    if (!text && !found->second.empty() && found->second != "null" && found->second != "None") text = found->second;
  }
  return text;
}

std::optional<std::int64_t> Settings::Size(std::initializer_list<std::string_view> names) {
  const std::optional<std::string> text = Text(names);
  if (!text) return std::nullopt;
  return ParseSize(*text, place_ + " " + std::string(*names.begin()));
}

std::int64_t Settings::SizeOr1(std::initializer_list<std::string_view> names) {
  const std::int64_t size = Size(names).value_or(1);
  if (size <= kMostRanks) return size;
  throw SpecError(place_ + " " + std::string(*names.begin()),
                  "found " + std::to_string(size) + ", expected at most " + std::to_string(kMostRanks));
}

std::optional<double> Settings::Fraction(std::initializer_list<std::string_view> names) {
  const std::optional<std::string> text = Text(names);
  if (!text) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(text->c_str(), &end);
  if (end == text->c_str() + text->size() && value > 0 && value <= 1) return value;
  throw SpecError(place_ + " " + std::string(*names.begin()),
                  "found \"" + *text + "\", expected a number above 0 and at most 1");
}

bool Settings::Flag(std::initializer_list<std::string_view> names) {
  const std::optional<std::string> text = Text(names);
  for (const std::string_view name : names) {
    if (values_.contains("no-" + std::string(name))) {
      used_.insert("no-" + std::string(name));
      return false;
    }
  }
  if (!text) return false;
  if (*text == "true" || *text == "True" || *text == "1") return true;
  if (*text == "false" || *text == "False" || *text == "0") return false;
  throw SpecError(place_ + " " + std::string(*names.begin()), "found \"" + *text + "\", expected true or false");
}

std::vector<std::int64_t> Settings::Sizes(std::initializer_list<std::string_view> names) {
  std::vector<std::int64_t> sizes;
  const std::string text = Text(names).value_or("");
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    sizes.push_back(
        ParseSize(std::string_view(text).substr(begin, end - begin), place_ + " " + std::string(*names.begin())));
    begin = end + 1;
  }
  return sizes;
}

void Settings::Ignore(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) used_.emplace(name);
}

std::vector<std::string> Settings::Unused() const {
  std::vector<std::string> unused;
  for (const auto& [name, value] : values_) {
    if (!used_.contains(name) && !name.starts_with("env.")) unused.push_back(name);
  }
  return unused;
}

Settings SettingsOfYaml(const YAML::Node& map, const std::string& place) {
  Settings settings(place);
  Flattener(settings).Add("", map, 0);
  return settings;
}

Command CommandOfWords(std::span<const std::string> words, Settings settings) {
  Command command{{}, std::move(settings)};
  Flattener flattener(command.settings);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (!IsFlag(word)) {
      if (command.program.empty() && IsAssignment(word)) {
        const std::size_t equals = word.find('=');
        command.settings.Set("env." + word.substr(0, equals), word.substr(equals + 1));
      } else {
        command.program.push_back(word);
      }
      continue;
    }
    const std::string name = word.substr(word.find_first_not_of('-'));
    const std::size_t equals = name.find('=');
    if (equals != std::string::npos) {
      flattener.AddText(name.substr(0, equals), name.substr(equals + 1), 0);
    } else if (i + 1 < words.size() && !IsFlag(words[i + 1])) {
      flattener.AddText(name, words[++i], 0);
    } else {
      command.settings.Set(name, "true");
    }
  }
  return command;
}

}  // namespace shardscout::importers
