-- luacheck, as `footlight check` and tools/check call it.
std = "lua54"
max_line_length = 140
cache = false
unused_args = false
files["tests"] = { std = "+busted", max_line_length = 160, ignore = { "122" } }
files["lua/**/locales/*.lua"] = { max_line_length = false } -- sentences
files["lua/types"] = { ignore = { ".*" } } -- definitions for editors: they define and do nothing
files["runtime/billing/scripts"] = { std = "lua51", globals = { "redis", "cjson", "server" }, ignore = { ".*" } }
files["lua/redis"] = { std = "lua51", read_globals = { "redis", "KEYS", "ARGV", "cjson" } }
files["conf"] = { read_globals = { "env", "environment", "file" } }
files["lua/site/documents.lua"] = { max_line_length = false }
exclude_files = { "node_modules", "build", "var" }
