// Package defects keeps account of the defects of the client that this one replaces: which tests would
// fail if one came back. It also holds docs/reliability.md to the tests that it names.
package defects
