package rules

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var all = map[string]func([]File) []string{
	"imports":       Imports,
	"package docs":  PackageDocs,
	"package names": PackageNames,
	"top level":     TopLevel,
	"sizes":         Sizes,
}

func TestRepository(t *testing.T) {
	files, err := Read("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, rule := range all {
		t.Run(name, func(t *testing.T) {
			for _, complaint := range rule(files) {
				t.Error(complaint)
			}
		})
	}
}

func TestImports(t *testing.T) {
	tests := []struct {
		from, imports string
		ok            bool
	}{
		{"drivers/driver.go", "encoding/json", true},
		{"drivers/driver.go", "golang.org/x/sys/unix", false},
		{"drivers/driver.go", module + "/drivers/internal/shim", false},
		{"drivers/docker/a.go", "github.com/docker/docker/client", true},
		{"drivers/docker/a.go", module + "/drivers", true},
		{"drivers/docker/a.go", module + "/drivers/internal/cgroup", true},
		{"drivers/docker/a.go", module + "/drivers/docker/pull", true},
		{"drivers/docker/a.go", module + "/drivers/native", false},
		{"drivers/docker/a_test.go", module + "/drivers/drivertest", true},
		{"drivers/docker/a.go", module + "/drivers/drivertest", false},
		{"drivers/docker/a.go", module + "/proto/job", false},
		{"drivers/docker/a.go", module + "/agent/node", false},
		{"drivers/internal/shim/a.go", module + "/drivers/native", false},
		{"drivers/cmd/edgeshim/main.go", module + "/drivers/native", true},
		{"drivers/cmd/edgeshim/main.go", module + "/proto/job", false},
		{"capabilities/cpu.go", module + "/capabilities/internal/x", true},
		{"capabilities/cpu.go", module + "/drivers", false},
		{"proto/link/a.go", module + "/proto/edgeio/v1", true},
		{"proto/link/a.go", module + "/control/pki", false},
		{"agent/node/a.go", module + "/agent/store", true},
		{"agent/node/a.go", module + "/drivers", true},
		{"agent/node/a.go", module + "/drivers/native", false},
		{"agent/node/a_test.go", module + "/drivers/fake", true},
		{"agent/node/a.go", module + "/capabilities", true},
		{"agent/node/a.go", module + "/proto/link", true},
		{"agent/node/a.go", module + "/control/store", false},
		{"agent/cmd/edgeagent/main.go", module + "/drivers/native", true},
		{"agent/cmd/edgeagent/main.go", module + "/control/api", false},
		{"control/root/a.go", module + "/control/store", true},
		{"control/root/a.go", module + "/proto/job", true},
		{"control/root/a.go", module + "/drivers", false},
		{"control/root/a.go", module + "/capabilities", false},
		{"control/cmd/edgectl/main.go", module + "/agent/node", false},
		{"control/root/a.go", module + "/testbeds/lab", false},
		{"testbeds/lab/a.go", module + "/testbeds/setup", true},
		{"testbeds/lab/a.go", module + "/control/root", true},
	}
	for _, tt := range tests {
		complaints := Imports([]File{{Path: tt.from, Imports: []string{tt.imports}}})
		if (len(complaints) == 0) != tt.ok {
			t.Errorf("%s imports %s: complaints %q, want none: %v", tt.from, tt.imports, complaints, tt.ok)
		}
	}
}

func TestRulesComplain(t *testing.T) {
	tests := map[string]struct {
		rule  func([]File) []string
		files []File
		want  []string // what each complaint begins with
	}{
		"package docs": {PackageDocs, []File{
			{Path: "a/x.go"}, {Path: "a/x_test.go", Doc: true},
			{Path: "b/x.go", Doc: true}, {Path: "b/y.go", Doc: true},
			{Path: "c/x.go", Doc: true}, {Path: "c/y.go"},
			{Path: "d/x_test.go"},
		}, []string{"a has no package comment", "b has a package comment in x.go and y.go"}},
		"package names": {PackageNames, []File{
			{Path: "a/util/x.go", Package: "util"}, {Path: "b/x.go", Package: "helpers"}, {Path: "c/x.go", Package: "c"}, {Path: "common/README.md"},
		}, []string{"a/util/x.go", "b/x.go"}},
		"top level": {TopLevel, append(topLevel("go.mod"), File{Path: "docs/a.md"}, File{Path: ".github/x"}, File{Path: "LICENSE"}),
			[]string{"docs does not belong", "go.mod is missing"}},
		"sizes": {Sizes, []File{
			{Path: "a.go", Lines: 500}, {Path: "b.go", Lines: 499}, {Path: "c.go", Lines: 5000, Generated: true}, {Path: "d.bin", Size: maxSize + 1}, {Path: "e.md", Lines: 9000},
		}, []string{"a.go has 500 lines", "d.bin has 1048577 bytes"}},
	}
	for name, tt := range tests {
		got := tt.rule(tt.files)
		ok := len(got) == len(tt.want)
		for i := 0; ok && i < len(got); i++ {
			ok = strings.HasPrefix(got[i], tt.want[i])
		}
		if !ok {
			t.Errorf("%s: complaints %q, want them to begin with %q", name, got, tt.want)
		}
	}
}

// topLevel is what the top level requires, less one.
func topLevel(without string) []File {
	var files []File
	for _, name := range required {
		if name != without {
			files = append(files, File{Path: name})
		}
	}
	return files
}

func TestParseGo(t *testing.T) {
	const src = "//go:build linux\n\n// Package a is.\npackage a\n\nimport (\n\t\"fmt\"\n\tx \"example.org/y\"\n)\n"
	got, err := parseGo(File{Path: "a/a.go"}, []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	want := File{Path: "a/a.go", Lines: 9, Package: "a", Doc: true, Imports: []string{"fmt", "example.org/y"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("(-want +got):\n" + diff)
	}
	got, err = parseGo(File{Path: "b/b.go"}, []byte("// Code generated by x. DO NOT EDIT.\n\npackage b\n"))
	if err != nil || !got.Generated || got.Doc {
		t.Errorf("parseGo of generated code: %+v, %v", got, err)
	}
	if _, err := parseGo(File{Path: "c/c.go"}, []byte("pakage c")); err == nil {
		t.Error("parseGo of what is no Go gave no error")
	}
}
