package docker

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/registry"
)

// dockerHub is how image references name Docker Hub; its client's files name
// it by the address of its first API.
const (
	dockerHub    = "docker.io"
	dockerHubKey = "index.docker.io"
)

// authStore finds credentials for registries.
type authStore struct {
	configured map[string]Credentials
	file       string
}

func defaultAuthFile() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".docker", "config.json")
}

// header returns the value of the X-Registry-Auth header for an image, "" if
// no credentials are known for its registry. The file is read each time, so
// that a login takes effect at once.
func (s *authStore) header(ref reference.Named) (string, error) {
	host := reference.Domain(ref)
	auth := registry.AuthConfig{ServerAddress: host}
	if c, ok := s.configured[host]; ok {
		auth.Username, auth.Password, auth.IdentityToken = c.Username, c.Password, c.IdentityToken
	} else {
		c, ok, err := s.fromFile(host)
		if err != nil || !ok {
			return "", err
		}
		auth.Username, auth.Password, auth.IdentityToken = c.Username, c.Password, c.IdentityToken
	}
	raw, err := json.Marshal(auth)
	if err != nil {
		return "", fmt.Errorf("encode credentials of %s: %w", host, err)
	}
	return base64.URLEncoding.EncodeToString(raw), nil
}

func (s *authStore) fromFile(host string) (Credentials, bool, error) {
	if s.file == "" {
		return Credentials{}, false, nil
	}
	raw, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return Credentials{}, false, nil
	}
	if err != nil {
		return Credentials{}, false, fmt.Errorf("registry credentials: %w", err)
	}
	all, err := parseAuths(raw)
	if err != nil {
		return Credentials{}, false, fmt.Errorf("registry credentials in %s: %w", s.file, err)
	}
	c, ok := all[host]
	return c, ok, nil
}

// parseAuths reads the "auths" of a Docker client's config.json, by registry host.
func parseAuths(raw []byte) (map[string]Credentials, error) {
	var file struct {
		Auths map[string]struct {
			Auth          string `json:"auth"`
			Username      string `json:"username"`
			Password      string `json:"password"`
			IdentityToken string `json:"identitytoken"`
		} `json:"auths"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, err
	}
	all := make(map[string]Credentials, len(file.Auths))
	for address, entry := range file.Auths {
		c := Credentials{Username: entry.Username, Password: entry.Password, IdentityToken: entry.IdentityToken}
		if entry.Auth != "" {
			plain, err := base64.StdEncoding.DecodeString(entry.Auth)
			user, password, ok := strings.Cut(string(plain), ":")
			if err != nil || !ok {
				return nil, fmt.Errorf("auths: %s: auth is not base64 of user:password", address)
			}
			c.Username, c.Password = user, strings.TrimRight(password, "\x00")
		}
		if c != (Credentials{}) {
			all[registryHost(address)] = c
		}
	}
	return all, nil
}

// registryHost turns a key of "auths" (host, or an address of it) into a host.
func registryHost(address string) string {
	address = strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://")
	host, _, _ := strings.Cut(address, "/")
	if host == dockerHubKey {
		return dockerHub
	}
	return host
}
