"""The published easy-VQA model and recipe once more, in PyTorch: is it we who miss its 93.8 %?

python experiments/vqa/reference_torch.py SEED   (needs torch and the package easy-vqa; no mmjax)

Keras's initialisation (Glorot uniform, zero bias), Adam 5e-4 with epsilon 1e-7, batches of 32,
eight epochs over all 38,575 official training questions, pictures in -0.5..0.5.
"""

import sys
import time

import easy_vqa
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

BATCH, EPOCHS = 32, 8


class Model(nn.Module):
    """Two linear convolutions with max pooling, a bag of words, their product, two dense layers."""

    def __init__(self, words: int, answers: int):
        super().__init__()
        pool = nn.MaxPool2d(2)
        convolutions = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.image = nn.Sequential(
            convolutions[0],
            pool,
            convolutions[1],
            pool,
            nn.Flatten(),
            nn.Linear(4096, 32),
            nn.Tanh(),
        )
        self.text = nn.Sequential(nn.Linear(words, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
        self.head = nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, answers))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Images uint8 [B 3 64 64] and bags of words [B V] -> logits [B C]."""
        return self.head(self.image(image.float() / 255 - 0.5) * self.text(text))


def load(questions, paths, vocabulary, answers):
    """Images uint8 [R 3 64 64], the row of each question, bags [B V] and labels [B]."""
    texts, labels, rows = questions
    bags = torch.zeros(len(texts), len(vocabulary))
    for bag, text in zip(bags, texts, strict=True):
        bag[[vocabulary[word] for word in split(text)]] = 1
    pictures = [np.asarray(Image.open(paths[i]).convert("RGB")) for i in range(len(paths))]
    images = torch.tensor(np.stack(pictures)).permute(0, 3, 1, 2)
    return images, torch.tensor(rows), bags, torch.tensor([answers.index(a) for a in labels])


def split(text: str) -> list[str]:
    """Words without punctuation."""
    return text.lower().replace("?", "").split()


def main(seed: int) -> None:
    """Trains, and prints the test accuracy after each epoch."""
    torch.manual_seed(seed)
    answers, train = easy_vqa.get_answers(), easy_vqa.get_train_questions()
    vocabulary = {word: i for i, word in enumerate(sorted({w for t in train[0] for w in split(t)}))}
    images, rows, bags, labels = load(train, easy_vqa.get_train_image_paths(), vocabulary, answers)
    test = load(easy_vqa.get_test_questions(), easy_vqa.get_test_image_paths(), vocabulary, answers)
    model = Model(len(vocabulary), len(answers))
    optimizer = torch.optim.Adam(model.parameters(), 5e-4, eps=1e-7)
    begun = time.perf_counter()
    for epoch in range(1, EPOCHS + 1):
        for chosen in torch.randperm(len(labels)).split(BATCH):
            loss = functional.cross_entropy(
                model(images[rows[chosen]], bags[chosen]), labels[chosen]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            parts = zip(*(array.split(512) for array in test[1:]), strict=True)
            correct = sum((model(test[0][r], b).argmax(1) == y).sum().item() for r, b, y in parts)
        accuracy, seconds = correct / len(test[3]), time.perf_counter() - begun
        print(
            f"seed {seed} epoch {epoch}: test accuracy {accuracy:.4f}, {seconds:.0f} s", flush=True
        )


if __name__ == "__main__":
    main(int(sys.argv[1]))
