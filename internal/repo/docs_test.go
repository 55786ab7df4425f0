package repo_test

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"strings"
)

// longestReadme is what a visitor reads before deciding.
const longestReadme = 150

func docChecks() []check {
	const (
		example = "package failsoft_test\n\n" +
			"func Example_client() {\n\tclient := dial()\n\tclient.Get()\n\t// Output:\n\t// ok\n}\n"
		shown = "<!-- example: Example_client -->\n```go\nclient := dial()\nclient.Get()\n```\n"
	)

	return []check{
		{
			name:   "the README exists",
			find:   missingReadme,
			broken: map[string]string{"docs/README.md": "# Another\n"},
			want:   []string{"README.md: missing"},
		},
		{
			name:   fmt.Sprintf("the README has at most %d lines", longestReadme),
			find:   longReadme,
			broken: map[string]string{"README.md": strings.Repeat("\n", longestReadme+1)},
			want:   []string{"README.md: 151 lines"},
		},
		{
			name:   "the README shows an example",
			find:   readmeWithoutExample,
			broken: map[string]string{"README.md": "# failsoft\n\n```sh\ngo get\n```\n"},
			want:   []string{"README.md: shows no example"},
		},
		{
			name: "the README shows examples that run",
			find: staleSnippets,
			broken: map[string]string{
				"example_test.go": example,
				"README.md": shown + strings.ReplaceAll(shown, "dial", "Dial") +
					strings.ReplaceAll(shown, "Example_client", "Example_gone") + "```go\nunmarked()\n```\n",
			},
			want: []string{
				"README.md:8: differs from Example_client",
				"README.md:13: there is no Example_gone",
				"README.md:17: a Go snippet without",
			},
		},
		{
			name: "relative links lead somewhere",
			find: deadLinks,
			broken: map[string]string{
				"retry/doc.go": "// Package retry retries.\npackage retry\n",
				"docs/a.md": "[ok](../retry/doc.go) [d](../retry/) [web](https://go.dev) [part](a.md#p) [here](#h)\n" +
					"[dead](b.md) `[code](c.md)`\n\n```go\n[fenced](d.md)\n```\n\n[ref]: e.md\n",
			},
			want: []string{"docs/a.md:2: b.md", "docs/a.md:8: e.md"},
		},
	}
}

func missingReadme(t *tree) []string {
	if _, ok := t.readme(); !ok {
		return []string{"README.md: missing"}
	}

	return nil
}

func longReadme(t *tree) []string {
	readme, _ := t.readme()
	if lines := strings.Count(readme.text, "\n"); lines > longestReadme {
		return []string{fmt.Sprintf("README.md: %d lines", lines)}
	}

	return nil
}

func readmeWithoutExample(t *tree) []string {
	readme, _ := t.readme()
	if len(snippets(readme.text)) == 0 {
		return []string{"README.md: shows no example"}
	}

	return nil
}

// staleSnippets compares each snippet with the example it names. White space does not count, as
// a body is indented and a snippet is not; nor does the output, which a README has in its prose.
func staleSnippets(t *tree) []string {
	readme, _ := t.readme()
	examples := t.rootExamples()

	var findings []string

	for _, s := range snippets(readme.text) {
		sources, known := examples[s.example]

		switch {
		case s.example == "":
			findings = append(findings, s.at("a Go snippet without <!-- example: ExampleName --> above it"))
		case !known:
			findings = append(findings, s.at("there is no %s in a test file of the root package", s.example))
		case !sources[squeeze(s.text)]:
			findings = append(findings, s.at("differs from %s", s.example))
		}
	}

	return findings
}

func (t *tree) readme() (document, bool) {
	for _, d := range t.docs {
		if d.name == "README.md" {
			return d, true
		}
	}

	return document{}, false
}

// rootExamples holds for each example of the root package what a snippet of it may be: the body, with
// or without the expected output, or the whole file.
func (t *tree) rootExamples() map[string]map[string]bool {
	examples := map[string]map[string]bool{}

	for _, s := range t.code {
		if s.top() != "." || !s.isTest() {
			continue
		}

		for _, decl := range s.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Example") {
				body := s.text[t.fset.Position(fn.Body.Lbrace).Offset+1 : t.fset.Position(fn.Body.Rbrace).Offset]
				code, _, _ := strings.Cut(body, "// Output:")
				examples[fn.Name.Name] = map[string]bool{
					squeeze(body): true, squeeze(code): true, squeeze(s.text): true,
				}
			}
		}
	}

	return examples
}

func squeeze(text string) string { return strings.Join(strings.Fields(text), " ") }

// snippet is a fenced Go block; line is where its code starts.
type snippet struct {
	example string
	text    string
	line    int
}

func (s snippet) at(format string, args ...any) string {
	return fmt.Sprintf("README.md:%d: ", s.line) + fmt.Sprintf(format, args...)
}

func snippets(markdown string) []snippet {
	marker := regexp.MustCompile(`^<!-- example: (\w+) -->$`)

	var (
		found  []snippet
		marked string
		fenced bool
	)

	for i, line := range strings.Split(markdown, "\n") {
		line = strings.TrimRight(line, " \t")

		switch {
		case fenced && line == "```":
			fenced = false
		case fenced:
			found[len(found)-1].text += line + "\n"
		case line == "```go":
			found = append(found, snippet{example: marked, line: i + 2})
			fenced, marked = true, ""
		case line != "":
			marked = ""
			if match := marker.FindStringSubmatch(line); match != nil {
				marked = match[1]
			}
		}
	}

	return found
}

// deadLinks follows the links that stay inside of the repository, as far as the file; whether a heading
// exists is for the renderer to say.
func deadLinks(t *tree) []string {
	link := regexp.MustCompile(`\]\(([^)\s]+)[^)]*\)|^\[[^\]]+\]:\s*(\S+)`)
	elsewhere := regexp.MustCompile(`^([a-z][a-z0-9+.-]*:|//|#|/)`)

	var findings []string

	for _, d := range t.docs {
		for i, line := range prose(d.text) {
			for _, match := range link.FindAllStringSubmatch(line, -1) {
				target := match[1] + match[2]
				file, _, _ := strings.Cut(target, "#")

				if !elsewhere.MatchString(target) && !t.paths[path.Join(path.Dir(d.name), file)] {
					findings = append(findings, fmt.Sprintf("%s:%d: %s leads nowhere", d.name, i+1, target))
				}
			}
		}
	}

	return findings
}

// prose returns the lines of a document with its code blanked out, so that their numbers stay right.
func prose(markdown string) []string {
	span := regexp.MustCompile("`[^`]*`")
	lines := strings.Split(markdown, "\n")
	fenced := false

	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence {
			fenced = !fenced
		}

		if fence || fenced {
			lines[i] = ""
		} else {
			lines[i] = span.ReplaceAllString(line, "")
		}
	}

	return lines
}
