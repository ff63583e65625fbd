local view = require "footlight.view"

-- What was loaded before is put back, because other suites render the site's templates.
local function load(files)
  return view.load(files)
end

local function render(source, variables, more)
  local files = { ["t.html"] = source }
  for name, text in pairs(more or {}) do files[name] = text end
  local count, errors = load(files)
  if not count then error(table.concat(errors, "\n"), 0) end
  return tostring((view.render("t", variables)))
end

local function failure(source, more)
  local ok, message = pcall(render, source, {}, more)
  assert.is_false(ok, "it compiled and rendered")
  return tostring(message)
end

describe("a template", function()
  teardown(function() view.load() end)

  describe("escapes", function()
    it("element content", function()
      assert.equal("&lt;b&gt; &amp; &quot;", render("{{ x }}", { x = '<b> & "' }))
    end)

    it("attribute values, safe markup too", function()
      assert.equal('<p title="a&quot; onclick=&quot;x">',
        render('<p title="{{ x }}">', { x = 'a" onclick="x' }))
      assert.equal('<p title="&lt;b&gt; &amp; &#34;">',
        render('<p title="{{ raw(x) }}">', { x = '<b> &amp; "' }))
    end)

    it("a whole URL, whose scheme cannot run script", function()
      local template = '<a href="{{ x }}">'
      for _, url in ipairs {
        "javascript:alert(1)", " JavaScript:alert(1)", "java\tscript:alert(1)", "data:text/html,x",
        "\1javascript:x", "vbscript:x", "blob:x",
      } do
        assert.equal('<a href="about:invalid">', render(template, { x = url }), url)
      end
      for _, url in ipairs { "/a?b=c:d", "https://x.example/", "mailto:a@b.example", "#x", "a/b:c" } do
        assert.equal('<a href="' .. url .. '">', render(template, { x = url }), url)
      end
    end)

    it("parts of a URL, and values of its query wholly", function()
      assert.equal('<a href="/r/a%20b?q=x%26y%3Dz">',
        render('<a href="/r/{{ a }}?q={{ b }}">', { a = "a b", b = "x&y=z" }))
      assert.equal('<a href="/?q=a%26b">', render('<a href="/?q={{ a | url }}">', { a = "a&b" }))
    end)

    it("data in a script", function()
      assert.equal('<script type="application/json">{"x":"\\u003c/script\\u003e"}</script>',
        render('<script type="application/json">{{ x }}</script>', { x = { x = "</script>" } }))
      assert.equal('<script type="application/json">["\\u003c\\""]</script>',
        render('<script type="application/json">["{{ x }}"]</script>', { x = '<"' }))
    end)

    it("textarea and title, in which markup is text", function()
      assert.equal("<textarea>&lt;/textarea&gt;</textarea>",
        render("<textarea>{{ raw(x) }}</textarea>", { x = "</textarea>" }))
    end)

    it("nothing that was vouched for", function()
      assert.equal("<b>", render("{{ raw(x) }}", { x = "<b>" }))
      assert.equal("<b>&lt;i&gt;", render("{{ raw(x) .. '<i>' }}", { x = "<b>" }))
    end)
  end)

  describe("does not compile with a value", function()
    for what, source in pairs {
      ["outside of quotes"] = "<a href={{ x }}>",
      ["as a tag's name"] = "<h{{ x }}>",
      ["as an attribute"] = "<a {{ x }}>",
      ["as a part of an attribute's name"] = '<a data-{{ x }}="1">',
      ["in an event handler"] = '<a onclick="{{ x }}">',
      ["in a style attribute"] = '<a style="{{ x }}">',
      ["in a style element"] = "<style>{{ x }}</style>",
      ["in a script that runs"] = "<script>var x = {{ x }}</script>",
      ["in a script of another type"] = '<script type="module">{{ x }}</script>',
      ["in srcdoc"] = '<iframe srcdoc="{{ x }}"></iframe>',
    } do
      it(what, function() assert.matches("^templates/t.html:1: ", failure(source)) end)
    end
  end)

  it("names the file and the line of what does not compile", function()
    for _, case in ipairs {
      { "a\n\n{{ x + }}", 3, "unexpected symbol" },
      { "a\n{% if x %}\n", 2, "without end" },
      { "a\n{% end %}", 2, "end without a beginning" },
      { "a\n{% nope %}", 2, "no tag 'nope'" },
      { "\n{{ x | nope }}", 2, "no filter is named" },
      { "{{ x", 1, "without '}}'" },
      { "\n{{ 'a\n' }}", 2, "string does not end" },
      { "{% for x %}{% end %}", 1, "for wants" },
      { "\n{% if x %}<a>{% else %}<b {% end %}", 2, "different places" },
      { "{% for x in y %}<a {% end %}", 1, "different places" },
      { "{% include 'zz' %}", 1, "no template 'zz'" },
      { "\n{% extends 'zz' %}", 2, "no such template" },
      { "{% extends 't' %}", 1, "extends itself" },
      { "{{ a || b }}", 1, "'||' is 'or'" },
      { "{{ a -- b\n }}", 1, "comment" },
      { "{% else if x %}", 1, "else without" },
      { "<p", 1, "ends inside of a tag" },
    } do
      local message = failure(case[1])
      assert.equal(1, (message:find(("templates/t.html:%d: "):format(case[2]), 1, true)), message)
      assert.truthy(message:find(case[3], 1, true), message)
    end
  end)

  it("prints any number of values on one line, in all their places and in order", function()
    local source, expected = {}, {}
    for i = 1, 150 do
      source[i] = ('<a title="{{ t }}" href="/x?n={{ t }}">{{ n + %d }}{{ t }}</a>'):format(i)
      expected[i] = ('<a title="&lt;a b&gt;" href="/x?n=%%3Ca%%20b%%3E">%d&lt;a b&gt;</a>'):format(i)
    end
    assert.equal(table.concat(expected), render(table.concat(source), { t = "<a b>", n = 0 }))
  end)

  it("names the line of the value that fails among several, also behind one of several lines", function()
    assert.matches("t%.html:2: .*nothing", failure("{{ 1 }}\n{{ 2 }}{{ nothing.x }}{{ 3 }}"))
    assert.matches("t%.html:4: .*nothing", failure("a{{ 1 }}b\nc{{ (2\n) }}{{ 5 }}\n{{ 6 }}{{ nothing.x }}"))
    assert.matches("t%.html:2: cannot print a table", failure("{{ 1 }}\n{{ 2 }}{{ {} }}\n{{ 3 }}"))
  end)

  it("names the file and the line of what fails when it is rendered", function()
    assert.matches("templates/t.html:4: attempt to index a nil value",
      failure("{# a\nb #}\n{% set y = 1 %}\n{{ x.y.z }}"))
    assert.matches("templates/u.html:2: ",
      failure("{% include 'u' %}", { ["u.html"] = "\n{{ nope() }}" }))
    assert.matches("cannot print a table", failure("{{ {} }}"))
  end)

  it("branches", function()
    local source = "{% if x == 1 %}a{% elseif x == 2 %}b{% else %}c{% end %}"
    assert.equal("a", render(source, { x = 1 }))
    assert.equal("b", render(source, { x = 2 }))
    assert.equal("c", render(source, { x = 3 }))
  end)

  it("loops over lists, maps and counts", function()
    assert.equal("1:a 2:b ", render("{% for i, v in x %}{{ i }}:{{ v }} {% end %}", { x = { "a", "b" } }))
    assert.equal("ab", render("{% for v in x %}{{ v }}{% end %}", { x = { "a", "b" } }))
    assert.equal("a=1 b=2 ",
      render("{% for k, v in pairs(x) %}{{ k }}={{ v }} {% end %}", { x = { b = 2, a = 1 } }))
    assert.equal("123", render("{% for i = 1, 3 %}{{ i }}{% end %}"))
    assert.equal("none", render("{% for v in x %}{{ v }}{% else %}none{% end %}", { x = {} }))
    assert.equal("none", render("{% for v in x %}{{ v }}{% else %}none{% end %}"))
    assert.equal("a, b", render(
      "{% for v in x %}{{ v }}{% if not loop.last %}, {% end %}{% end %}", { x = { "a", "b" } }))
  end)

  it("sets variables, also from a piece of markup", function()
    assert.equal("3", render("{% set x = 1 + 2 %}{{ x }}"))
    assert.equal("[<b>&lt;</b>]", render("{% set x %}<b>{{ y }}</b>{% end %}[{{ x }}]", { y = "<" }))
  end)

  it("leaves the variables of its caller alone", function()
    local variables = { x = 1 }
    render("{% set x = 2 %}{% set y = 3 %}", variables)
    assert.same({ x = 1 }, variables)
  end)

  it("takes a layout, whose blocks it replaces or extends", function()
    local layouts = {
      ["base.html"] = "[{% block a %}A{% end %}|{% block b %}B{% end %}]",
      ["mid.html"] = "{% extends 'base' %}{% block a %}M{{ super() }}{% end %}",
    }
    assert.equal("[A|mine]",
      render("{% extends 'base' %}\n{% block b %}mine{% end %}", {}, layouts))
    assert.equal("[TMA|B]",
      render("{% extends 'mid' %}{% block a %}T{{ super() }}{% end %}", {}, layouts))
  end)

  it("is compiled for the place where the layout has its block", function()
    local layouts = { ["base.html"] = '<a href="{% block link %}/{% end %}">' }
    assert.equal('<a href="about:invalid">',
      render("{% extends 'base' %}{% block link %}{{ x }}{% end %}", { x = "javascript:x" }, layouts))
  end)

  it("refuses what a layout would lose", function()
    assert.matches("outside of every block", failure("{% extends 'b' %}\nlost",
      { ["b.html"] = "{% block a %}{% end %}" }))
  end)

  it("includes partials with variables of their own", function()
    assert.equal("<1 2>", render("<{% include 'p' with { a = 1 } %}>", { b = 2 },
      { ["p.html"] = "{{ a }} {{ b }}" }):gsub("&lt;", "<"))
    assert.equal("1", render("{% set a = 1 %}{% include 'p' %}{{ a }}", {},
      { ["p.html"] = "{% set a = 2 %}" }))
  end)

  it("imports macros, which give markup and see no variables of the page", function()
    local files = { ["m.html"] = "{% macro b(x) %}<b>{{ x }}{{ page }}</b>{% end %}" }
    assert.equal("<b>&lt;</b>",
      render("{% import 'm' as m %}{{ m.b('<') }}", { page = "no" }, files))
    assert.equal("<i><i></i></i>",
      render("{% macro n(x) %}{% if x > 0 %}<i>{{ n(x - 1) }}</i>{% end %}{% end %}{{ n(2) }}"))
    assert.matches("has no macro 'zz'", failure("{% import 'm' as m %}{{ m.zz() }}", files))
  end)

  it("takes filters with and without arguments", function()
    assert.equal("AB…", render("{{ x | upper | truncate(3) }}", { x = "abcdef" }))
    assert.equal("none", render("{{ x | default('none') }}"))
    assert.equal("3", render("{{ 1 + 2 }}"))
  end)

  it("finds the end of an expression behind strings and brackets", function()
    assert.equal("}}", render("{{ '}}' }}"))
    assert.equal("1", render("{{ ({ a = { b = 1 }}).a.b }}"))
    assert.equal("%}", render("{% set x = '%}' %}{{ x }}"))
  end)

  it("leaves no lines behind where tags stand alone", function()
    assert.equal("a\nb\nc\n", render("a\n  {% if true %}\nb\n  {% end %}\n{# x #}\nc\n"))
    assert.equal("ab", render("a  {{- 'b' -}}  "))
  end)

  it("writes plain text without escaping, for mails", function()
    view.load { ["m.txt"] = "{% set subject = 'S ' .. x %}Hi {{ x }}" }
    local text, variables = view.render("m.txt", { x = "<a>" })
    assert.equal("Hi <a>", tostring(text))
    assert.equal("S <a>", variables.subject)
  end)

  it("does not nest without end", function()
    assert.matches("include each other", failure("{% include 't' %}"))
    local deep = ("{% if true %}"):rep(100) .. ("{% end %}"):rep(100)
    assert.matches("nested deeper", failure(deep))
  end)

  it("keeps what was loaded when something new does not compile", function()
    render("first")
    local count, errors = load { ["t.html"] = "{% if %}", ["u.html"] = "{{ }}" }
    assert.is_nil(count)
    assert.equal(2, #errors)
    assert.equal("first", tostring((view.render("t"))))
  end)
end)
