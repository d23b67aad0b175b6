// Package readme holds the README to what it says: its job file is the sample
// that it names, and its commands are run against a real installation. It has
// tests only.
package readme
