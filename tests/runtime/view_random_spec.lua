-- Templates thrown together at random: each either compiles or names its line, and what compiles
-- lets no value out of its place. The seed is fixed, so that a failure can be looked at.
local view = require "footlight.view"

local pieces = {
  "<p>", "</p>", "<a href=\"", "<a href='", "\">", "'>", "\"", "'", ">", "<", "<input value=\"", " title=\"",
  "<script type=\"application/json\">", "<script>", "</script>", "<style>", "</style>", "<textarea>",
  "</textarea>", "<title>", "</title>", "<!--", "-->", "<!doctype html>", "text", " ", "\n", "=", "/", "?a=",
  "onclick=\"", "style=\"", "{{ x }}", "{{ x | url }}", "{{ x | json }}", "{{ raw('<b>') }}", "{{ l }}",
  "{% if x %}", "{% elseif y %}", "{% else %}", "{% end %}", "{% for i in l %}", "{% for k, v in pairs(l) %}",
  "{% for i = 1, 2 %}", "{% set y = x %}", "{% set y %}", "{% block b %}", "{% block c %}", "{{ super() }}",
  "{% macro m(a) %}", "{{ m(x) }}", "{# note #}", "{{- x -}}", "{%- if x -%}", "{{", "}}", "{%", "%}", "{#",
  "#}", "{{ '}}' }}", "{{ x .. \"", "{{ ({ [1] = x })[1] }}", "{% nope %}", "{{ x | nope }}", "{{ }}", "\\",
  "\0", "ü", "{% extends 'base' %}", "{% include 'part' with { x = x } %}", "{% import 'part' as p %}",
  "{{ p.q(x) }}", "&amp;", "&", "<svg>", "<iframe>", "<br/>", "checked", " data-x=\"",
}

local hostile = "<evil>\"'`&</script></textarea></title>--><evil x=y>"

local others = {
  ["base.html"] = "<html><body class=\"{% block c %}{% end %}\">{% block b %}B{% end %}</body></html>",
  ["part.html"] = "{% macro q(a) %}<i title=\"{{ a }}\">{{ a }}</i>{% end %}<u>{{ x }}</u>",
}

describe("templates at random", function()
  teardown(function() view.load() end)

  it("compile or name their line, and let no value out of its place", function()
    local state = 20261124
    local function random(n) -- an LCG of our own: math.random's sequence is not ours to rely on
      state = (state * 1103515245 + 12345) % 2147483648
      return state // 65536 % n + 1
    end
    local compiled, refused = 0, 0
    for _ = 1, 2000 do
      local parts = {}
      for i = 1, random(12) do parts[i] = pieces[random(#pieces)] end
      local source = table.concat(parts)
      local files = { ["t.html"] = source }
      for name, text in pairs(others) do files[name] = text end
      local count, errors = view.load(files)
      if count then
        compiled = compiled + 1
        local ok, page = pcall(view.render, "t", { x = hostile, l = { "a", hostile } })
        local text = tostring(page)
        if ok then
          assert.is_nil(text:find("<evil", 1, true), source)
          local run = tostring((view.render("t", { x = "javascript:evil()", l = {} })))
          assert.is_nil(run:find("href=[\"']javascript"), source)
        else
          assert.matches("templates/%w+%.html:%d+: ", text, 1, false)
        end
      else
        refused = refused + 1
        for _, message in ipairs(errors) do
          assert.is_truthy(message:find("^templates/t%.html:%d+: "), message .. "\n" .. source)
        end
      end
    end
    assert.is_true(compiled > 200 and refused > 200)
  end)
end)
