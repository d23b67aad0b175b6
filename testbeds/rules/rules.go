// Package rules holds the rules of this repository: which package may import
// which, where files belong, how large they grow. Its tests read the source
// files, of all platforms and build tags, and nothing else: they build nothing
// and need no network.
//
// The rules are pure functions from a list of files to complaints, so that the
// tests can show that each of them does complain. A rule that is in the way is
// changed here, in the open, with its reason.
package rules

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// module is the path of this module.
const module = "github.com/edgeio/edgeio"

// File is what the rules look at in one file.
type File struct {
	Path      string   // from the root of the repository, with slashes
	Size      int64    // in bytes
	Lines     int      // Go files only, as the rest
	Package   string   // name in the package clause
	Doc       bool     // has a package comment
	Generated bool     // says so, in the form of go.dev/s/generatedcode
	Imports   []string // import paths
}

func (f File) isGo() bool   { return strings.HasSuffix(f.Path, ".go") }
func (f File) isTest() bool { return strings.HasSuffix(f.Path, "_test.go") }

// ours returns the folder of an import from this module.
func ours(imported string) (folder string, ok bool) {
	return strings.CutPrefix(imported, module+"/")
}

// under reports whether folder is base or lies in it.
func under(folder string, bases ...string) bool {
	return slices.ContainsFunc(bases, func(base string) bool {
		return folder == base || strings.HasPrefix(folder, base+"/")
	})
}

// Imports complains about imports that the layout forbids. Tests may import
// what they need.
func Imports(files []File) []string {
	var complaints []string
	for _, f := range files {
		if !f.isGo() || f.isTest() {
			continue
		}
		from := path.Dir(f.Path)
		for _, imported := range f.Imports {
			to, own := ours(imported)
			switch {
			case own:
				if why := refusal(from, to); why != "" {
					complaints = append(complaints, fmt.Sprintf("%s imports %s: %s", f.Path, to, why))
				}
			case from == "drivers" && !standard(imported):
				complaints = append(complaints, fmt.Sprintf("%s imports %s: the drivers contract uses the standard library only, so that a driver can be written without the rest of edgeIO", f.Path, imported))
			}
		}
	}
	return complaints
}

// standard reports whether an import is of the standard library: those have no
// dot in their first element.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// refusal says why a package of ours must not import another one of ours;
// empty if it may.
func refusal(from, to string) string {
	top, _, _ := strings.Cut(from, "/")
	switch {
	case under(to, top) && top != "drivers":
		return ""
	case under(to, "testbeds", "packaging"):
		return "nothing imports testbeds or packaging; what both need belongs into a package of its own"
	case top == "drivers":
		return driverRefusal(from, to)
	case top == "capabilities", top == "proto":
		return top + " imports nothing of ours outside itself"
	case top == "control" && !under(to, "proto"):
		return "control uses proto only"
	case top == "agent" && under(from, "agent/cmd/edgeagent") && under(to, "drivers", "capabilities", "proto"):
		return ""
	case top == "agent" && to != "drivers" && !under(to, "capabilities", "proto"):
		return "agent uses drivers (the contract), capabilities and proto; only agent/cmd/edgeagent names concrete drivers"
	}
	return ""
}

// driverRefusal is refusal for what lies in drivers. The programs in
// drivers/cmd put drivers together, hence may import all of them.
func driverRefusal(from, to string) string {
	switch {
	case from == "drivers":
		return "the drivers contract uses the standard library only"
	case under(to, "agent", "control", "proto"):
		return "a driver knows the contract in drivers, and nothing of agent, control and proto"
	case under(from, "drivers/cmd"), to == "drivers", under(to, "drivers/internal"), !under(to, "drivers"):
		return ""
	case second(from) != second(to):
		return "a driver never uses another one; what both need belongs into drivers/internal"
	}
	return ""
}

// second is the second element of a path: the driver's name.
func second(folder string) string {
	_, rest, _ := strings.Cut(folder, "/")
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// PackageDocs complains about packages without a package comment, or with
// several. Packages of tests alone need none.
func PackageDocs(files []File) []string {
	docs, folders := map[string][]string{}, []string{}
	for _, f := range files {
		if !f.isGo() || f.isTest() {
			continue
		}
		folder := path.Dir(f.Path)
		if _, seen := docs[folder]; !seen {
			docs[folder] = nil
			folders = append(folders, folder)
		}
		if f.Doc {
			docs[folder] = append(docs[folder], path.Base(f.Path))
		}
	}
	var complaints []string
	for _, folder := range folders {
		switch with := docs[folder]; len(with) {
		case 1:
		case 0:
			complaints = append(complaints, folder+" has no package comment: say in one file what it is for, what it owns, what it never does")
		default:
			complaints = append(complaints, fmt.Sprintf("%s has a package comment in %s: keep one", folder, strings.Join(with, " and ")))
		}
	}
	return complaints
}

// PackageNames complains about names that say nothing.
func PackageNames(files []File) []string {
	empty := []string{"util", "utils", "common", "helper", "helpers"}
	var complaints []string
	for _, f := range files {
		if !f.isGo() {
			continue
		}
		if name := path.Base(path.Dir(f.Path)); slices.Contains(empty, f.Package) || slices.Contains(empty, name) {
			complaints = append(complaints, fmt.Sprintf("%s is of package %s: name the package after what it does", f.Path, f.Package))
		}
	}
	return complaints
}

// The top level: what must be there, and what may. Names that begin with a dot
// may, too.
var (
	required = []string{"agent", "drivers", "capabilities", "control", "proto", "packaging", "testbeds", "go.mod", "go.sum", "Makefile", "README.md"}
	allowed  = []string{"LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
)

// TopLevel complains about what does not belong at the top of the repository,
// and about what is missing there.
func TopLevel(files []File) []string {
	var complaints []string
	seen := map[string]bool{}
	for _, f := range files {
		top, _, _ := strings.Cut(f.Path, "/")
		if seen[top] {
			continue
		}
		seen[top] = true
		if !strings.HasPrefix(top, ".") && !slices.Contains(required, top) && !slices.Contains(allowed, top) {
			complaints = append(complaints, top+" does not belong at the top level, which is fixed: move it into "+strings.Join(required[:7], ", ")+" (a guide lies beside what it describes)")
		}
	}
	for _, name := range required {
		if !seen[name] {
			complaints = append(complaints, name+" is missing at the top level")
		}
	}
	return complaints
}

// Bounds of files.
const (
	maxLines = 500
	maxSize  = 1 << 20
)

// Sizes complains about files that have grown too large. Generated code may
// have as many lines as it takes.
func Sizes(files []File) []string {
	var complaints []string
	for _, f := range files {
		if f.isGo() && !f.Generated && f.Lines >= maxLines {
			complaints = append(complaints, fmt.Sprintf("%s has %d lines, want less than %d: split it by topic", f.Path, f.Lines, maxLines))
		}
		if f.Size > maxSize {
			complaints = append(complaints, fmt.Sprintf("%s has %d bytes, want at most %d: fetch it or make it when it is needed", f.Path, f.Size, maxSize))
		}
	}
	return complaints
}
