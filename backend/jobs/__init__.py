"""Long work: the contract, and the engines that fulfil it."""
