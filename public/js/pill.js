// Pages whose only live part is the balance in the header.
import { followBalance } from "./session.js";

followBalance();
