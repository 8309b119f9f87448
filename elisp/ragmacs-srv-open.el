;;; ragmacs-srv-open.el --- Open what an answer quotes, where it stands  -*- lexical-binding: t; -*-

;; Author: The ragmacs-srv maintainers
;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; A link names its kind by its scheme, and is opened where Emacs has that:
;; a node in Info, a heading of a manual page, of a file, a page of a PDF.
;; What is not on this machine any more, or cannot be shown by this Emacs,
;; and what is of any other kind, is shown as it is stored.

;;; Code:

(require 'ragmacs-srv)
(require 'thingatpt)
(require 'url-util)

(declare-function Info-find-file "info" (filename &optional noerror no-pop-to-dir))
(declare-function Info-goto-node "info" (nodename &optional fork strict-case))
(declare-function doc-view-mode-p "doc-view" (type))
(declare-function doc-view-goto-page "doc-view" (page))
(declare-function pdf-view-goto-page "ext:pdf-view" (page &optional window))
(declare-function org-get-heading "org" (&optional no-tags no-todo no-priority no-comment))
(declare-function org-reveal "org" (&optional siblings))

(defconst ragmacs-srv-open--places
  '(("http" . ragmacs-srv-open--web)
    ("https" . ragmacs-srv-open--web)
    ("info" . ragmacs-srv-open--info)
    ("man" . ragmacs-srv-open--man)
    ("file" . ragmacs-srv-open--file))
  "Schemes, and what opens a link of them.
Each is called with the part of the link behind the scheme, its anchor or nil,
and a function that shows the link as it is stored instead.")

;;;###autoload
(defun ragmacs-srv-open (link &optional external)
  "Open LINK at its heading: in EWW, Info, a manual page, a file.
What this Emacs has no place for is shown as it is stored.  With a prefix
argument, or if EXTERNAL, an address on the web is opened in the browser."
  (interactive (list (ragmacs-srv-open--read) current-prefix-arg))
  (let* ((parts (split-string link "#"))
         (scheme (and (string-match "\\`\\([a-z]+\\):" link) (match-string 1 link)))
         (open (alist-get scheme ragmacs-srv-open--places nil nil #'equal)))
    (cond ((and external (string-match-p "\\`https?:" link)) (browse-url link))
          (open (funcall open (substring (car parts) (1+ (length scheme))) (cadr parts)
                         (if (eq open #'ragmacs-srv-open--web) link (lambda () (ragmacs-srv-read link)))))
          (t (ragmacs-srv-read link)))))

(defconst ragmacs-srv-open--link
  (concat "\\b\\(?:man:[^][ \t\n<>\"()]+(\\w+)\\(?:#[^][ \t\n<>\"()]+\\)?"
          "\\|\\(?:https?://\\|file:///\\|\\(?:info\\|godoc\\|handbook\\):\\)[^][ \t\n<>\"()]+\\)")
  "Matches a link in the text of an answer, a chat or a note.")

(defun ragmacs-srv-open--read ()
  "Return the link at point, or else one that is read."
  (or (plist-get (ragmacs-srv--source) :link)
      (and (thing-at-point-looking-at ragmacs-srv-open--link 500)
           (string-trim-right (match-string-no-properties 0) "[.,;:!?]+"))
      (ragmacs-srv--read-address "Open: ")))

(defun ragmacs-srv-open--web (_rest _anchor link)
  "Open LINK in EWW."
  (eww link))

;;;; Info

(defun ragmacs-srv-open--info (manual node stored)
  "Show NODE of MANUAL in Info; call STORED where it is not installed here."
  (require 'info)
  (condition-case nil
      (if (Info-find-file manual t t)
          (Info-goto-node (format "(%s)%s" manual (if node (ragmacs-srv-open--node node) "Top")))
        (funcall stored))
    (user-error (funcall stored))))     ; it has no such node any more

(defun ragmacs-srv-open--node (anchor)
  "Return the name of the node that Texinfo encodes as ANCHOR."
  (replace-regexp-in-string
   "__\\([[:xdigit:]]\\{6\\}\\)\\|_\\([[:xdigit:]]\\{4\\}\\)\\|-"
   (lambda (found)
     (if (equal found "-") " " (string (string-to-number (string-replace "_" "" found) 16))))
   anchor t t))

;;;; Manual pages

(defun ragmacs-srv-open--man (page heading stored)
  "Show PAGE, such as ls(1), at HEADING; call STORED where there is none.
Emacs does not wait for its formatting."
  (require 'man)
  (if (and (string-match "\\`\\([^()-][^()]*\\)\\(?:(\\([^()-]+\\))\\)?\\'" page) (executable-find "man"))
      (let ((name (match-string 1 page))
            (section (match-string 2 page))
            (default-directory (expand-file-name "~/")))
        (make-process :name "ragmacs-srv man"
                      :command `("man" "-w" ,@(and section (list section)) ,name)
                      :noquery t
                      :sentinel (lambda (process _event)
                                  (unless (process-live-p process)
                                    (if (zerop (process-exit-status process))
                                        (ragmacs-srv-open--man-page page heading)
                                      (funcall stored))))))
    (funcall stored)))

(defun ragmacs-srv-open--man-page (page heading)
  "Show PAGE, which there is, and go to HEADING when it is formatted."
  (let* ((buffer (man page))
         (process (get-buffer-process buffer))
         (go (lambda (&rest _)
               (unless (process-live-p process)
                 (ragmacs-srv-open--man-heading buffer heading)))))
    (if (process-live-p process)
        (add-function :after (process-sentinel process) go)
      (funcall go))))

(defun ragmacs-srv-open--man-heading (buffer anchor)
  "Go to the heading that ANCHOR names in BUFFER, a manual page.
A blank is an underscore there; ~2 is the second heading of these words."
  (when (and anchor (buffer-live-p buffer))
    (with-current-buffer buffer
      (pcase-let ((`(,heading ,count) (split-string (decode-coding-string (url-unhex-string anchor) 'utf-8) "~"))
                  (case-fold-search nil))
        (goto-char (point-min))
        (when (re-search-forward (concat "^[ \t]*" (ragmacs-srv-open--man-words heading) "[ \t]*$") nil t
                                 (string-to-number (or count "1")))
          (ragmacs-srv-open--arrive (line-beginning-position)))))))

(defun ragmacs-srv-open--man-words (heading)
  "Return a regexp for HEADING as man may print it; it has hyphens of its own."
  (replace-regexp-in-string "-" "[-‐]" (replace-regexp-in-string "_" "[ _]" (regexp-quote heading)) t t))

(defun ragmacs-srv-open--arrive (place)
  "Go to PLACE in this buffer and in its windows, which show what is below it."
  (goto-char place)
  (dolist (window (get-buffer-window-list nil nil t))
    (set-window-point window place)
    (set-window-start window (save-excursion (goto-char place) (line-beginning-position)))))

;;;; Files

(defun ragmacs-srv-open--file (address anchor stored)
  "Visit the file at ADDRESS, which is what follows file:, at ANCHOR.
Call STORED where it is gone, or is a PDF and no page of that can be drawn."
  (let ((file (decode-coding-string (url-unhex-string (string-remove-prefix "//" address)) 'utf-8))
        (case-fold-search t))
    (cond ((or (file-remote-p file) (not (file-regular-p file)) (not (file-readable-p file)))
           (funcall stored))
          ((string-match-p "\\.pdf\\'" file) (ragmacs-srv-open--pdf file anchor stored))
          ((string-match-p "\\.x?html?\\'" file) (eww (concat "file:" address (and anchor (concat "#" anchor)))))
          (t (find-file file)
             (when anchor
               (ragmacs-srv-open--heading (decode-coding-string (url-unhex-string anchor) 'utf-8)))))))

(defun ragmacs-srv-open--pdf (file anchor stored)
  "Show FILE at the page that ANCHOR, page=N, names.
Call STORED where it cannot be drawn."
  (if (not (ragmacs-srv-open--draws-p))
      (funcall stored)
    (find-file file)
    (when (and anchor (string-match "\\`page=\\([0-9]+\\)" anchor))
      (let ((page (string-to-number (match-string 1 anchor))))
        (cond ((derived-mode-p 'pdf-view-mode) (pdf-view-goto-page page))
              ((derived-mode-p 'doc-view-mode) (doc-view-goto-page page)))))))

(defun ragmacs-srv-open--draws-p ()
  "Return non-nil when this Emacs can draw the pages of a PDF."
  (and (display-images-p)
       (or (featurep 'pdf-tools)
           (and (require 'doc-view nil t) (doc-view-mode-p 'pdf)))))

(defun ragmacs-srv-open--heading (anchor)
  "Go to the heading of this buffer that ANCHOR names."
  (save-restriction
    (widen)
    (when-let ((place (or (ragmacs-srv-open--declared anchor) (ragmacs-srv-open--slug-place anchor))))
      (push-mark nil t)
      (when (or (< place (point-min)) (> place (point-max)))
        (widen))
      (ragmacs-srv-open--arrive place)
      (when (derived-mode-p 'org-mode)
        (org-reveal)))))

(defun ragmacs-srv-open--declared (anchor)
  "Return the place whose markup declares ANCHOR as its id, or nil."
  (save-excursion
    (goto-char (point-min))
    (let ((id (regexp-quote anchor)) (case-fold-search t))
      (when (re-search-forward
             (format "^[ \t]*:CUSTOM_ID:[ \t]+%s[ \t]*$\\|{#%s}\\|^\\.\\. _%s:\\|\\[\\[%s[],]\\|\\[#%s[],]\\|<<%s>>\\|\\(?:id\\|name\\)=\"%s\""
                     id id id id id id id)
             nil t)
        (if (and (derived-mode-p 'org-mode) (re-search-backward "^\\*+ " nil t))
            (point)
          (line-beginning-position))))))

(defconst ragmacs-srv-open--headings
  "^\\(?:\\(?:\\*+\\|#+\\|=+\\)[ \t]+\\(.+\\)\\|\\(\\S-.*\\)\n\\([-=~^\"'`#*+.:_]\\)\\3\\{2,\\}[ \t]*$\\)"
  "Matches a heading of Org, Markdown, AsciiDoc or reStructuredText.")

(defun ragmacs-srv-open--slug-place (anchor)
  "Return where the heading is that ANCHOR was made of, or nil."
  (save-excursion
    (goto-char (point-min))
    (let ((seen (make-hash-table :test #'equal)) near found)
      (while (and (not found) (re-search-forward ragmacs-srv-open--headings nil t))
        (let* ((place (match-beginning 0))
               (slug (ragmacs-srv-open--slug (ragmacs-srv-open--words)))
               (count (cl-incf (gethash slug seen 0))))
          (cond ((equal anchor (if (> count 1) (format "%s-%d" slug (1- count)) slug))
                 (setq found place))
                ((and (not near) (equal (ragmacs-srv-open--bare anchor) (ragmacs-srv-open--bare slug)))
                 (setq near place)))))
      (or found near))))

(defun ragmacs-srv-open--words ()
  "Return the words of the heading that was matched, without its markup."
  (let ((words (or (match-string-no-properties 1) (match-string-no-properties 2))))
    (when (derived-mode-p 'org-mode)
      (setq words (save-match-data
                    (save-excursion (beginning-of-line)
                                    (org-get-heading t t t t)))))
    (thread-last (substring-no-properties (or words ""))
                 (replace-regexp-in-string "\\[\\[[^]]*]\\[\\([^]]*\\)]]" "\\1")
                 (replace-regexp-in-string "\\[\\([^]]*\\)](\\([^)]*\\))" "\\1")
                 (replace-regexp-in-string "[ \t]+#+[ \t]*\\'" ""))))

(defun ragmacs-srv-open--slug (words)
  "Return the anchor that GitHub, and our server, make of a heading of WORDS."
  (replace-regexp-in-string
   " " "-" (replace-regexp-in-string "[^[:alnum:]_ -]" "" (downcase (string-trim words)))))

(defun ragmacs-srv-open--bare (anchor)
  "Return ANCHOR as other formats might have written it."
  (string-trim (replace-regexp-in-string "[-_ ]+" "-" (downcase anchor)) "-+" "-+"))

(provide 'ragmacs-srv-open)
;;; ragmacs-srv-open.el ends here
