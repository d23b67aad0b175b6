package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// The samples must name every setting, and be valid.
func TestSamplesAreComplete(t *testing.T) {
	root, cluster := DefaultRoot(), DefaultCluster()
	check(t, "../../packaging/root.yaml", &root, root.Validate)
	check(t, "../../packaging/cluster.yaml", &cluster, func() error { return cluster.Validate() })
}

func check[T Root | Cluster](t *testing.T, file string, c *T, validate func() error) {
	t.Helper()
	if err := Load(c, file, ""); err != nil {
		t.Fatal(err)
	}
	if err := validate(); err != nil {
		t.Errorf("%s: %v", file, err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := yaml.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	for i := range reflect.TypeFor[T]().NumField() {
		if tag := reflect.TypeFor[T]().Field(i).Tag.Get("yaml"); keys[tag] == nil {
			if _, ok := keys[tag]; !ok {
				t.Errorf("%s does not have %s", file, tag)
			}
		}
	}
}

func TestLoadNamesThePlaceOfAnError(t *testing.T) {
	for text, want := range map[string]string{
		"name: a\nlinkaddr: x\n":       "unknown field",
		"name: [a]\n":                  "[1:7]",
		"name: a\nname: b\n":           "already defined",
		"usage_interval: often\n":      "invalid duration",
		"log:\n    level:\n  - nope\n": "[",
	} {
		file := filepath.Join(t.TempDir(), "root.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := DefaultRoot()
		err := Load(&c, file, "")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
}

func TestLoadOfAMissingFile(t *testing.T) {
	c := DefaultRoot()
	missing := filepath.Join(t.TempDir(), "none.yaml")
	if err := Load(&c, missing, missing); err != nil {
		t.Errorf("the default file need not exist: %v", err)
	}
	if err := Load(&c, missing, "other"); err == nil {
		t.Error("a file that was named but does not exist is no error")
	}
}

func TestValidateReportsAllAtOnce(t *testing.T) {
	c := Cluster{DataDir: "relative", LinkAddr: "nowhere", Log: Log{Level: "loud", Format: "xml"}}
	err := c.Validate()
	for _, want := range []string{"name", "data_dir", "link_addr", "usage_interval", "log.level", "log.format", "parents"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not reported in: %v", want, err)
		}
	}
}
