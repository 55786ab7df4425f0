package repo_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/failsoft/failsoft"

// policies are the packages that users nest. None of them may know of another.
func policies() []string {
	return []string{"backpressure", "breaker", "healthcheck", "hedge", "retry", "route", "stale"}
}

// tree is a repository as the checks see it.
type tree struct {
	fset *token.FileSet
	code []source
	docs []document
	// paths holds every file and every folder, so that links can be followed.
	paths map[string]bool
}

// source is a parsed Go file; name is its path from the root, with slashes.
type source struct {
	name string
	text string
	ast  *ast.File
}

type document struct {
	name string
	text string
}

func load(fsys fs.FS) (*tree, error) {
	t := &tree{fset: token.NewFileSet(), paths: map[string]bool{}}

	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}

		if entry.IsDir() && skipped(name) {
			return fs.SkipDir
		}

		t.paths[name] = true

		switch path.Ext(name) {
		case ".go":
			return t.addCode(fsys, name)
		case ".md":
			return t.addDocument(fsys, name)
		default:
			return nil
		}
	})

	return t, err
}

// skipped names the folders that are not of our writing. What starts with a dot is a tool's, and
// testdata may hold Go that is broken on purpose.
func skipped(dir string) bool {
	base := path.Base(dir)

	return base == "testdata" || base != "." && strings.HasPrefix(base, ".")
}

func (t *tree) addCode(fsys fs.FS, name string) error {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}

	file, err := parser.ParseFile(t.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}

	t.code = append(t.code, source{name: name, text: string(text), ast: file})

	return nil
}

func (t *tree) addDocument(fsys fs.FS, name string) error {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}

	t.docs = append(t.docs, document{name: name, text: string(text)})

	return nil
}

// at formats a finding with the position that an editor can jump to.
func (t *tree) at(pos token.Pos, format string, args ...any) string {
	where := t.fset.Position(pos)

	return fmt.Sprintf("%s:%d: ", where.Filename, where.Line) + fmt.Sprintf(format, args...)
}

func (s source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }

// top is the first folder of the path, or "." for a file of the root package.
func (s source) top() string {
	top, _, nested := strings.Cut(s.name, "/")
	if !nested {
		return "."
	}

	return top
}

func (s source) dir() string { return path.Dir(s.name) }

func (s source) imports(prefix string) bool {
	return slices.ContainsFunc(s.ast.Imports, func(spec *ast.ImportSpec) bool {
		return within(importPath(spec), prefix)
	})
}

func importPath(spec *ast.ImportSpec) string {
	name, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return "" // The parser has accepted it, so this cannot be reached.
	}

	return name
}

// within says whether an import path is a package or one below it.
func within(name, pkg string) bool {
	return name == pkg || strings.HasPrefix(name, pkg+"/")
}
