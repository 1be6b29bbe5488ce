// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// Every target with precompiled headers needs a source file.

int main() {}
