// Package defects keeps account of the defects of the client that this one replaces: which tests would
// fail if one came back. It also holds the documents to the tests and files that they name.
package defects
