package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/urfave/cli/v2"
)

// config is the configuration file.
type config struct {
	// Address is where the API is; more than one are tried in turn.
	Address addresses `yaml:"address"`
	// Authority are the certificates that the server's must come from, PEM.
	Authority string `yaml:"authority,omitempty"`
	// Token is the API token.
	Token string `yaml:"token"`
}

// addresses is one address or a list of them.
type addresses []string

// UnmarshalYAML accepts both forms.
func (a *addresses) UnmarshalYAML(b []byte) error {
	var s string
	if err := yaml.Unmarshal(b, &s); err == nil {
		*a = addresses{s}
		return nil
	}
	var l []string
	if err := yaml.Unmarshal(b, &l); err != nil {
		return err
	}
	*a = l
	return nil
}

// MarshalYAML writes the short form of one.
func (a addresses) MarshalYAML() (any, error) {
	if len(a) == 1 {
		return a[0], nil
	}
	return []string(a), nil
}

// configPath is where the configuration is, and whether the user said so.
func (p *program) configPath(c *cli.Context) (path string, named bool, err error) {
	if path := c.String("config"); path != "" {
		return path, true, nil
	}
	if path := p.getenv("EDGECTL_CONFIG"); path != "" {
		return path, true, nil
	}
	dir := p.getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", false, badInput("where is the configuration? %v; set EDGECTL_CONFIG", err)
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "edgeio", "edgectl.yaml"), false, nil
}

// configuration reads the file, then the environment, then the flags.
func (p *program) configuration(c *cli.Context) (config, error) {
	path, named, err := p.configPath(c)
	if err != nil {
		return config{}, err
	}
	conf, err := readConfig(path)
	if err != nil && (named || !errors.Is(err, fs.ErrNotExist)) {
		return config{}, codeError{exitBadInput, err.Error()}
	}
	if v := p.getenv("EDGECTL_ADDRESS"); v != "" {
		conf.Address = strings.Split(v, ",")
	}
	if v := p.getenv("EDGECTL_TOKEN"); v != "" {
		conf.Token = v
	}
	if v := c.StringSlice("address"); len(v) > 0 {
		conf.Address = v
	}
	if v := c.String("token"); v != "" {
		conf.Token = v
	}
	if len(conf.Address) == 0 {
		return config{}, badInput("no server is configured: run edgectl login ADDRESS, or set EDGECTL_ADDRESS and EDGECTL_TOKEN (there is no %s)", path)
	}
	return conf, nil
}

func readConfig(path string) (config, error) {
	var conf config
	b, err := os.ReadFile(path)
	if err != nil {
		return conf, fmt.Errorf("read configuration: %w", err)
	}
	if err := yaml.UnmarshalWithOptions(b, &conf, yaml.Strict()); err != nil {
		// The source is left out of the message: it has the token.
		return config{}, fmt.Errorf("configuration %s: %s; edgectl login writes a new one", path, yaml.FormatError(err, false, false))
	}
	return conf, nil
}

// writeConfig writes a file that only its owner can read.
func writeConfig(path string, conf config) error {
	b, err := yaml.MarshalWithOptions(conf, yaml.UseLiteralStyleIfMultiline(true))
	if err != nil {
		return fmt.Errorf("encode configuration: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}
