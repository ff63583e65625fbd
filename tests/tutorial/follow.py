"""Follows docs/tutorial.md word for word in a clone: runs its commands, writes its files, and looks at the
page as a newcomer would. Whatever the page says and does not happen is a failure.

  follow.py CLONE      prints a line for each step and "N passed, N failed, 0 skipped"

What is taken from the text: commands (fences whose lines begin with tools/), what they print (the fence
behind them), files (a fence behind a sentence that names `path/of/the.file`) and changes of files (fences
behind "put this into" and "Its second test"). What a reader sees and does between them is checked here, by
section.
"""
import html, http.cookiejar, os, re, subprocess, sys, time, urllib.error, urllib.parse, urllib.request


class Wrong(Exception):
    pass


def need(truth, what):
    if not truth:
        raise Wrong(what)


class Visitor:
    """A browser without a screen."""

    def __init__(self, base):
        self.base = base
        jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))

    def ask(self, path, fields=None):
        data = urllib.parse.urlencode(fields).encode() if fields else None
        request = urllib.request.Request(self.base + path, data, {"Origin": self.base})
        try:
            with self.opener.open(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode()

    def submit(self, path, message):
        _, page = self.ask(path)
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
        need(token, "%s has no form with a token" % path)
        return self.ask(path, {"csrf_token": html.unescape(token.group(1)), "message": message})


class Reader:
    def __init__(self, clone):
        self.clone = clone
        self.passed = self.failed = 0
        with open(os.path.join(clone, "docs/tutorial.md")) as f:
            self.text = f.read()
        self.url = None

    # ---- what the text says

    def sections(self):
        parts = re.split(r"^## (.+)$", self.text, flags=re.M)
        return list(zip(parts[1::2], parts[2::2]))

    @staticmethod
    def blocks(section):
        """(the prose before it, language, code) of each fence."""
        at = 0
        for fence in re.finditer(r"^```(\w*)\n(.*?)^```$", section, flags=re.M | re.S):
            yield section[at:fence.start()], fence.group(1), fence.group(2)
            at = fence.end()

    # ---- what the reader does

    def path(self, name):
        return os.path.join(self.clone, name)

    def read(self, name):
        with open(self.path(name)) as f:
            return f.read()

    def save(self, name, text):
        """As an editor does it; the site sees one change."""
        with open(self.path(name + ".new"), "w") as f:
            f.write(text)
        os.rename(self.path(name + ".new"), self.path(name))
        os.chmod(self.path(name), 0o644)

    def run(self, command):
        began = time.monotonic()
        done = subprocess.run(command, shell=True, cwd=self.clone, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.output = done.stdout + done.stderr
        need(done.returncode == 0, "%s ended with %d:\n%s" % (command, done.returncode, self.output[-3000:]))
        print("  $ %s   (%.1f s)" % (command, time.monotonic() - began), flush=True)

    def visitor(self):
        if not self.url:
            self.url = self.read("var/run/url").strip()
        return Visitor(self.url)

    def until(self, done, what, seconds=10):
        end = time.monotonic() + seconds
        while True:
            seen = done()
            if seen:
                return seen
            need(time.monotonic() < end, what)
            time.sleep(0.02)

    def follow(self, title, section):
        for before, language, code in self.blocks(section):
            first = code.split("\n")[0]
            named = re.findall(r"`([\w/.-]+/[\w.-]+\.(?:lua|html|sql))`", before)
            if language == "" and first.startswith("tools/"):
                for line in code.strip().split("\n"):
                    self.run(line)
                expected = re.search(r"The last line is `([^`]+)`", section)
                if expected and "tools/test" in code:
                    pattern = re.escape(expected.group(1)).replace("N", r"\d+")
                    last = self.output.strip().split("\n")[-1]
                    need(re.fullmatch(pattern, last), "the last line is '%s'" % last)
            elif language == "":
                for line in code.strip().split("\n"):
                    need(line in self.output, "the command did not say '%s' but\n%s" % (line, self.output))
            elif code.startswith("  it("):
                name = named[-1]
                tests = re.findall(r"^  it\(.*?^  end\)\n", self.read(name), flags=re.M | re.S)
                need("second test" in before and len(tests) > 1, "it is not said where the test belongs")
                self.save(name, self.read(name).replace(tests[1], code))
            elif "put this into" in before:
                name, mark = re.search(r"put this into `([^`]+)`, behind `([^`]+)`", before).groups()
                need(self.read(name).count(mark) == 1, "%s has not one '%s'" % (name, mark))
                self.save(name, self.read(name).replace(mark, mark + "\n" + code.rstrip("\n")))
            else:
                need(named, "it is not said where this belongs:\n" + code)
                self.save(named[-1], code)
        look = getattr(self, "look_" + re.sub(r"\W+", "_", title.split(". ")[-1]).lower().strip("_"), None)
        if look:
            look()

    # ---- what the reader sees

    def services(self):
        done = subprocess.run(["tools/footlight", "status", "--json"], cwd=self.clone, capture_output=True, text=True)
        return sorted(re.findall(r'"pid":\s*(\d+)', done.stdout))

    def look_start(self):
        status, page = self.visitor().ask("/")
        need(status == 200, "the site answers %d" % status)
        self.pids = self.services()
        need(len(self.pids) >= 5, "status shows no services")

    def look_a_page(self):
        visitor = self.visitor()
        status, page = self.until(lambda: (lambda a: a if a[0] == 200 else None)(visitor.ask("/guestbook")),
                                  "the page does not appear")
        need("<form" in page, "the page has no form")
        status, page = visitor.submit("/guestbook", "first words")
        need(status == 200 and "first words" in page, "the page does not thank with what was written")

    def look_a_table(self):
        need(re.search(r"\d{4}_guestbook\.sql", " ".join(os.listdir(self.path("migrations")))), "there is no migration")

    def look_a_query(self):
        visitor = self.visitor()
        self.until(lambda: "Nobody has written anything yet" in visitor.ask("/guestbook")[1],
                   "the new template does not show")
        # A reload that was under way may have read the template only: the one behind it has all.
        self.until(lambda: "Thank you!" in visitor.submit("/guestbook", "good evening")[1], "the page does not say thanks")
        markup = "<script>alert(1)</script>"
        status, page = visitor.submit("/guestbook", markup)
        need(status == 200 and "good evening" in page and markup not in page and html.escape(markup) in page,
             "what people write is not shown as it was written")
        need("good evening" in self.visitor().ask("/guestbook")[1], "another visitor does not see it")

    def look_break_it(self):
        visitor, page, template = self.visitor(), "lua/site/guestbook.lua", "templates/site/guestbook.html"
        good = self.read(page)
        need(good.endswith("end\n"), "the last line of the page is no 'end'")
        self.save(page, good[:-len("end\n")] + "\n")
        self.until(lambda: page in visitor.ask("/guestbook")[1], "the foot of the page does not say what is wrong")
        status, text = visitor.ask("/guestbook")
        need(status == 200 and "good evening" in text, "the page does not go on working")
        need(re.search(re.escape(page) + r":\d+", text), "file and line are not at the foot")
        self.run("tools/footlight status || true")
        need(page in self.output, "status does not say it:\n" + self.output)
        self.save(page, good)
        self.until(lambda: page not in visitor.ask("/guestbook")[1], "the foot stays")
        good = self.read(template)
        broken = good.replace("{{ entry.message }}", "{{ entry.message.nothing.here }}")
        need(broken != good, "there is no {{ entry.message }}")
        self.save(template, broken)
        _, text = self.until(lambda: (lambda a: a if a[0] == 500 else None)(visitor.ask("/guestbook")),
                             "the error does not show")
        line = broken[:broken.index("nothing.here")].count("\n") + 1
        need("%s:%d" % (template, line) in text or ("%s" % template in text and str(line) in text),
             "the error page does not name the line of the template")
        need("/guestbook" in text and "stack" in text.lower(), "the error page has no stack or no request")
        self.save(template, good)
        self.until(lambda: visitor.ask("/guestbook")[0] == 200, "the page does not come back")
        need(self.services() == self.pids, "a service was started anew: that was no live reload")

    def all(self):
        done = []
        for title, section in self.sections():
            if not re.match(r"\d+\. ", title):
                continue
            print("--- %s" % title, flush=True)
            try:
                self.follow(title, section)
                self.passed += 1
                done.append(title)
            except Wrong as wrong:
                self.failed += 1
                print("failed: %s: %s" % (title, wrong), flush=True)
                break
        if self.passed < 6 and not self.failed:
            self.failed += 1
            print("failed: the tutorial has %d steps only" % self.passed)


def main():
    reader = Reader(os.path.abspath(sys.argv[1]))
    try:
        reader.all()
    finally:
        subprocess.run(["tools/stop"], cwd=reader.clone, capture_output=True)
    print("%d passed, %d failed, 0 skipped" % (reader.passed, reader.failed))
    sys.exit(1 if reader.failed else 0)


if __name__ == "__main__":
    main()
