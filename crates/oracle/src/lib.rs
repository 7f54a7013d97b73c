//! The factor oracle over tokens and features, its information rate, and navigation under requests.
